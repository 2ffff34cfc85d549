//! Answers of several executors to one question, collected by a task.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use shard::command::Command;
use shard::ids::ShardId;

use super::message::{Answer, Message, Proposal, Question};
use super::ticket::Ticket;
use super::{Core, Waiter};

/// Where the answers to one ticket arrive.
#[derive(Default)]
pub(super) struct Post {
    arrived: RefCell<(VecDeque<Answer>, Option<Waker>)>,
}

impl Post {
    pub(super) fn put(&self, answer: Answer) {
        let mut arrived = self.arrived.borrow_mut();
        arrived.0.push_back(answer);
        if let Some(waker) = arrived.1.take() {
            waker.wake();
        }
    }
}

/// A question that is under way. Dropping it forgets the answers.
pub(crate) struct Asked {
    core: Rc<Core>,
    ticket: Ticket,
    post: Rc<Post>,
}

impl Asked {
    /// The next answer, from whichever executor.
    pub(crate) async fn next(&self) -> Answer {
        poll_fn(|cx| {
            let mut arrived = self.post.arrived.borrow_mut();
            if let Some(answer) = arrived.0.pop_front() {
                return Poll::Ready(answer);
            }
            arrived.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Asked {
    /// The next answer, if it has come.
    pub(crate) fn try_next(&self) -> Option<Answer> {
        self.post.arrived.borrow_mut().0.pop_front()
    }

    /// Whether [`Asked::try_next`] has something.
    pub(crate) fn is_ready(&self) -> bool {
        !self.post.arrived.borrow().0.is_empty()
    }

    /// Whom to wake when it has.
    pub(crate) fn register(&self, waker: &Waker) {
        self.post.arrived.borrow_mut().1 = Some(waker.clone());
    }

    /// The next answer, if it comes in time.
    pub(crate) async fn next_within(&self, time: Duration) -> Option<Answer> {
        let late = async {
            glommio::timer::sleep(time).await;
            None
        };
        futures_lite::future::or(async { Some(self.next().await) }, late).await
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.core.inner.borrow_mut().waiting.take(self.ticket);
    }
}

impl Core {
    /// Asks one executor; `None` if too many questions are under way.
    pub(crate) fn ask(self: &Rc<Self>, to: usize, question: Question) -> Option<Asked> {
        let asked = self.asking()?;
        self.inner.borrow_mut().send(to, Message::Ask(asked.ticket, question));
        self.stir();
        Some(asked)
    }

    /// Asks every executor, this one included; as many answers will come.
    pub(crate) fn ask_all(self: &Rc<Self>, question: impl Fn() -> Question) -> Option<Asked> {
        let asked = self.asking()?;
        let mut inner = self.inner.borrow_mut();
        for to in 0..self.node.cores() {
            inner.send(to, Message::Ask(asked.ticket, question()));
        }
        drop(inner);
        self.stir();
        Some(asked)
    }

    /// Proposes a command of the node's own and waits for the status of its answer; `None` if too many wait already, or no
    /// answer comes in time: what becomes of it is not known then.
    pub(crate) async fn propose_and_wait(self: &Rc<Self>, shard: ShardId, command: Command) -> Option<u16> {
        let asked = self.asking()?;
        let proposal = Proposal { shard, ticket: asked.ticket, process: self.node.process, command };
        self.inner.borrow_mut().send(self.node.core_of(shard), Message::Propose(proposal));
        self.stir();
        match asked.next_within(self.node.config.request_timeout()).await? {
            Answer::Keys(answer) => Some(answer.status),
            other => panic!("a proposal was answered with {other:?}"),
        }
    }

    fn asking(self: &Rc<Self>) -> Option<Asked> {
        let post = Rc::new(Post::default());
        let ticket = self.inner.borrow_mut().waiting.add(Waiter::Post(Rc::clone(&post))).ok()?;
        Some(Asked { core: Rc::clone(self), ticket, post })
    }
}
