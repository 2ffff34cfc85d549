//! `completion`.

use super::Call;
use crate::cli::completions;
use crate::failed::Failed;
use crate::screen;

pub(super) fn run(call: &Call) -> Result<(), Failed> {
    let shell = call.only_word("Provide the name of a shell: bash, zsh, fish, elvish or powershell")?;
    let mut script = Vec::new();
    completions::write(call.settings.manner(), shell, &mut script).map_err(Failed::said)?;
    screen::say_text(&String::from_utf8_lossy(&script));
    Ok(())
}
