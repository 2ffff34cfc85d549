//! mirror
use crate::commands::Call;
use crate::failed::Failed;
/// x
pub(crate) fn run(_call: &Call) -> Result<(), Failed> {
    Ok(())
}
