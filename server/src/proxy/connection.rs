//! One connection of a client: requests in, each answered before the next is looked at.

use std::io;
use std::rc::Rc;

use futures_lite::{AsyncRead, AsyncWrite};
use net::http::request::{CONTINUE, Decoder, Limits, Progress};
use net::http::response::Next;

use super::client::Client;
use super::forward::forward;
use super::front::Front;
use super::plan::{self, Answer, Asker, Plan};
use crate::http::{Opened, Service};

/// The door of an executor.
#[derive(Clone)]
pub(super) struct Door(pub(super) Rc<Front>);

impl Service for Door {
    fn accepted(&self) {
        self.0.count(|metrics| metrics.accepted.inc());
    }

    fn refused(&self) {
        self.0.count(|metrics| metrics.refused.inc());
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(self, opened: Opened<S>) {
        let front = self.0;
        front.count(|metrics| metrics.connections.inc());
        // An error is the client's, or that of an answer which can not be completed.
        let _ = serve(&front, opened).await;
        front.count(|metrics| metrics.connections.dec());
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(front: &Rc<Front>, opened: Opened<S>) -> io::Result<()> {
    let limits = Limits { body_bytes: front.shared.config.max_request_bytes, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    let side = opened.side;
    let mut client = Client::new(Rc::clone(front), opened);
    let asker = Asker { side, address: client.address() };
    loop {
        let (next, lingers) = match take(front, &asker, &mut decoder, &mut client) {
            Step::Wait if client.input_ended || client.is_stopped() => return client.close(false).await,
            Step::Wait => {
                client.receive().await?;
                continue;
            }
            Step::Continue => {
                client.send(CONTINUE).await?;
                continue;
            }
            Step::Do(Plan::Forward(job)) => (forward(front, &mut client, &job).await?, false),
            Step::Do(Plan::Answer(Answer { bytes, next, lingers })) => {
                client.send(&bytes).await?;
                (next, lingers)
            }
        };
        if next == Next::Close {
            return client.close(lingers).await;
        }
    }
}

/// What is to be done with the input.
enum Step {
    /// There is no whole request.
    Wait,
    /// The client waits for a word before it sends the body.
    Continue,
    Do(Plan),
}

/// Takes the next request from the input.
fn take<S>(front: &Front, asker: &Asker, decoder: &mut Decoder, client: &mut Client<S>) -> Step
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        if client.input.is_empty() {
            return Step::Wait;
        }
        let (plan, consumed) = match decoder.decode(&client.input) {
            Ok(Progress::Partial) => return Step::Wait,
            Ok(Progress::Complete { request, consumed }) => (plan::plan(front, asker, &request), consumed),
            Ok(Progress::Undecided { request, wants_continue, consumed }) => {
                if plan::reads_body(front, asker.side, &request) {
                    decoder.read_body();
                    if wants_continue {
                        return Step::Continue;
                    }
                    continue;
                }
                (plan::plan(front, asker, &request), consumed)
            }
            Err(reject) => return Step::Do(Plan::Answer(plan::rejected(front, reject))),
        };
        client.consume(consumed);
        return Step::Do(plan);
    }
}
