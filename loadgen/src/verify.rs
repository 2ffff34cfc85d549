//! After a run of compare-and-swap: every counter stands where the acknowledged raises have brought it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::cli::Workload;
use crate::failure::Failure;
use crate::http::{AnswerReader, Progress, RequestWriter};
use crate::script::{Stage, count_in, push_counter_key, text_of};

/// Compares all counters with the ledger. Only for [`Workload::Cas`].
pub(crate) fn counters(stage: &Stage) -> Result<(), Failure> {
    if stage.plan.workload != Workload::Cas {
        return Ok(());
    }
    let endpoint = stage.plan.endpoint(0);
    let connect = |source| Failure::Connect { connection: 0, host: endpoint.host.clone(), source };
    let mut stream = TcpStream::connect_timeout(&endpoint.address, stage.plan.timeout).map_err(connect)?;
    stream.set_read_timeout(Some(stage.plan.timeout)).map_err(connect)?;
    let mut requests = RequestWriter::new(&endpoint.host);
    for (counter, raised) in stage.ledger.entries() {
        let key = || text_of(|out| push_counter_key(stage, out, counter));
        let mut out = Vec::new();
        requests.key(|path| push_counter_key(stage, path, counter)).plain(&mut out, "GET", "?quorum=true");
        let count =
            ask(&mut stream, &out).map_err(|error| Failure::Store(format!("{} cannot be read: {error}", key())))?;
        if count != Some(raised) {
            let found = count.map_or_else(|| "nothing".to_owned(), |count| count.to_string());
            return Err(Failure::Store(format!("{} holds {found}; {raised} raises were acknowledged", key())));
        }
    }
    Ok(())
}

fn ask(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<Option<u64>> {
    stream.write_all(request)?;
    let (mut reader, mut input, mut chunk) = (AnswerReader::new(), Vec::new(), [0; 4096]);
    loop {
        let consumed = match reader.read(&input).map_err(std::io::Error::other)? {
            Progress::Complete(answer, _) => return Ok(count_in(answer.body).filter(|_| answer.status == 200)),
            Progress::Partial(consumed) => consumed,
        };
        input.drain(..consumed);
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        input.extend_from_slice(&chunk[..length]);
    }
}
