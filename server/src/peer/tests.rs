//! Links of several members over real sockets, in one executor.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement, Task};
use net::peer::{
    Address, Answer, Confirm, Entry, EntryKind, Forward, Frame, HANDSHAKE_BYTES, Held, Hello, MessageKind, RaftMessage,
    Refusal, Standing,
};
use shard::ids::MemberId;

use super::stream::{read_exact, write_all};
use super::{Ears, Links, Local, Origin, Remembered, Unsent, is_peer, opening};
use crate::config::Url;

const CLUSTER: u64 = 0xc1;
const SHARDS: u16 = 16;
const ONE: MemberId = MemberId(1);
const TWO: MemberId = MemberId(2);

/// What a member has heard.
#[derive(Default)]
struct Heard {
    strangers: RefCell<Vec<MemberId>>,
    frames: RefCell<Vec<(Origin, Frame)>>,
    links: RefCell<Vec<bool>>,
    refusals: RefCell<Vec<(MemberId, Refusal)>>,
    remembered: Remembered,
    held: Cell<Held>,
}

impl Ears for Heard {
    fn standing(&self, member: MemberId) -> Standing {
        if self.strangers.borrow().contains(&member) { Standing::Removed } else { Standing::Member }
    }

    fn is_outdated(&self, hello: &Hello) -> bool {
        self.remembered.is_outdated(hello)
    }

    fn held(&self) -> Held {
        self.held.get()
    }

    fn receive(&self, from: Origin, frame: Frame) {
        // Every stream begins with it.
        if frame != Frame::from(Address { urls: Vec::new() }) {
            self.frames.borrow_mut().push((from, frame));
        }
    }

    fn link(&self, _to: MemberId, up: bool) {
        self.links.borrow_mut().push(up);
    }

    fn refused(&self, by: MemberId, refusal: Refusal) {
        self.refusals.borrow_mut().push((by, refusal));
    }
}

/// One executor of a member, listening.
struct Member {
    heard: Rc<Heard>,
    links: Rc<Links>,
    url: Url,
    tasks: Vec<Task<()>>,
}

impl Member {
    fn new(local: Local, address: &str) -> Self {
        let heard = Rc::new(Heard::default());
        let links = Links::new(local, Vec::new(), Rc::clone(&heard) as Rc<dyn Ears>, 7);
        let listener = TcpListener::bind(address).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("is bound"));
        let accepting = glommio::spawn_local(accept(Rc::clone(&links), listener));
        let time = glommio::spawn_local(Rc::clone(&links).keep_time());
        Self { heard, links, url: Url::parse(&url).expect("valid"), tasks: vec![accepting, time] }
    }

    fn of(member: MemberId) -> Self {
        Self::new(Local::new(CLUSTER, member.0, 100 + member.0, SHARDS, 0, 1), "127.0.0.1:0")
    }

    fn knows(&self, other: MemberId, url: &Url) {
        self.links.set_peers([(other, vec![url.clone()])]);
    }

    fn is_up(&self, other: MemberId) -> bool {
        self.links.up_since(other).is_some()
    }

    fn frames(&self) -> Vec<Frame> {
        self.heard.frames.borrow().iter().map(|(_, frame)| frame.clone()).collect()
    }

    async fn stop(self) -> Url {
        self.links.close();
        for task in self.tasks {
            task.cancel().await;
        }
        self.url
    }
}

async fn accept(links: Rc<Links>, listener: TcpListener) {
    while let Ok(mut stream) = listener.accept().await {
        let links = Rc::clone(&links);
        glommio::spawn_local(async move {
            let Some(first) = opening(&mut stream).await else { return };
            if is_peer(&first) {
                links.accept(Box::new(stream), first).await;
            }
        })
        .detach();
    }
}

/// Runs a story in an executor.
fn tell<F: Future<Output = ()> + 'static>(story: impl FnOnce() -> F + Send + 'static) {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move { story().await });
    executor.expect("an executor").join().expect("the story ends");
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        glommio::timer::sleep(Duration::from_millis(2)).await;
    }
}

fn confirm(ticket: u64) -> Frame {
    Confirm { ticket }.into()
}

#[test]
fn what_is_sent_arrives_in_order_and_says_where_it_comes_from() {
    tell(|| async {
        let (one, two) = (Member::of(ONE), Member::of(TWO));
        one.knows(TWO, &two.url);
        two.knows(ONE, &one.url);
        until("both are connected", || one.is_up(TWO) && two.is_up(ONE)).await;
        let large = Forward { ticket: 0, process: 1, term: 1, shard: 3, command: Bytes::from(vec![7; 8 << 20]) };
        assert_eq!(one.links.send(TWO, &large.clone().into()), Ok(()));
        let want: Vec<Frame> = std::iter::once(large.into()).chain((1..100).map(confirm)).collect();
        for frame in &want[1..] {
            assert_eq!(one.links.send(TWO, frame), Ok(()));
        }
        assert_eq!(two.links.send(ONE, &confirm(5)), Ok(()));
        until("all has arrived", || two.frames().len() >= want.len() && !one.frames().is_empty()).await;
        assert_eq!(two.frames(), want);
        let from = Origin { member: TWO, process: 102, executor: 0 };
        assert_eq!(*one.heard.frames.borrow(), [(from, confirm(5))]);
        assert_eq!(one.links.send(MemberId(9), &confirm(1)), Err(Unsent::Down), "nobody knows it");
    });
}

#[test]
fn raft_s_messages_are_batched_and_split_by_size() {
    tell(|| async {
        let (one, two) = (Member::of(ONE), Member::of(TWO));
        one.knows(TWO, &two.url);
        until("connected", || one.is_up(TWO)).await;
        let heartbeat = |group| RaftMessage::new(group, MessageKind::Heartbeat, 1, 2, 3);
        let data = Bytes::from(vec![1; 600 << 10]);
        let entry = Entry { index: 1, term: 1, kind: EntryKind::Normal, data, context: Bytes::new() };
        let append = |group| RaftMessage { entries: vec![entry.clone()], ..heartbeat(group) };
        let mut messages: Vec<RaftMessage> = (0..16).map(heartbeat).chain((0..3).map(append)).collect();
        let want = messages.clone();
        assert_eq!(one.links.send_raft(TWO, &mut messages), Ok(()));
        assert!(messages.is_empty());
        until("all has arrived", || two.frames().len() == 3).await;
        let frames = two.frames();
        let batches: Vec<&[RaftMessage]> = frames
            .iter()
            .map(|frame| if let Frame::RaftBatch(batch) = frame { &batch.messages[..] } else { panic!("{frame:?}") })
            .collect();
        assert_eq!(batches.iter().map(|batch| batch.len()).collect::<Vec<_>>(), [17, 1, 1]);
        assert_eq!(batches.concat(), want);
    });
}

#[test]
fn a_lost_peer_is_noticed_and_dialled_again() {
    tell(|| async {
        let (one, two) = (Member::of(ONE), Member::of(TWO));
        one.knows(TWO, &two.url);
        assert_eq!(one.links.send(TWO, &confirm(1)), Err(Unsent::Down), "not connected yet");
        until("connected", || one.is_up(TWO)).await;
        let url = two.stop().await;
        until("the loss is noticed", || !one.is_up(TWO)).await;
        assert_eq!(one.links.send(TWO, &confirm(2)), Err(Unsent::Down));
        let local = Local::new(CLUSTER, TWO.0, 999, SHARDS, 0, 1);
        let two = Member::new(local, url.host_port());
        until("connected again", || one.is_up(TWO)).await;
        assert_eq!(one.links.send(TWO, &confirm(3)), Ok(()));
        until("it arrives", || two.frames() == [confirm(3)]).await;
        assert_eq!(*one.heard.links.borrow(), [true, false, true]);
    });
}

#[test]
fn a_member_that_moves_is_dialled_at_its_new_place() {
    tell(|| async {
        let (one, here) = (Member::of(ONE), Member::of(TWO));
        one.knows(TWO, &here.url);
        until("connected", || one.is_up(TWO)).await;
        let there = Member::of(TWO);
        one.knows(TWO, &there.url);
        until("it goes there", || {
            let _ = one.links.send(TWO, &confirm(1));
            !there.frames().is_empty()
        })
        .await;
        one.links.set_peers([]);
        assert_eq!(one.links.send(TWO, &confirm(2)), Err(Unsent::Down), "it is no peer any more");
        until("the stream is closed", || there.links.shared.incoming.borrow().is_empty()).await;
    });
}

#[test]
fn those_who_differ_refuse_each_other() {
    tell(|| async {
        let own = Member::of(ONE);
        for (other, why) in [
            (Local::new(CLUSTER + 1, 2, 1, SHARDS, 0, 1), Refusal::Cluster),
            (Local::new(CLUSTER, 2, 1, SHARDS + 1, 0, 1), Refusal::Shards),
            (Local::new(CLUSTER, 3, 1, SHARDS, 0, 1), Refusal::Receiver),
            (Local::new(CLUSTER, 1, 1, SHARDS, 0, 1), Refusal::Receiver),
        ] {
            let other = Member::new(other, "127.0.0.1:0");
            own.heard.refusals.borrow_mut().clear();
            own.knows(TWO, &other.url);
            until("it is refused", || own.heard.refusals.borrow().len() >= 2).await;
            assert!(own.heard.refusals.borrow().iter().all(|refusal| *refusal == (TWO, why)), "{why:?}");
            assert!(!own.is_up(TWO) && other.frames().is_empty());
            own.links.set_peers([]);
            other.stop().await;
        }
    });
}

#[test]
fn who_is_removed_is_cut_off_and_told_so() {
    tell(|| async {
        let (one, two) = (Member::of(ONE), Member::of(TWO));
        one.knows(TWO, &two.url);
        until("connected", || one.is_up(TWO)).await;
        two.heard.strangers.borrow_mut().push(ONE);
        until("it is told", || one.heard.refusals.borrow().contains(&(TWO, Refusal::RemovedMember))).await;
        assert!(!one.is_up(TWO));
    });
}

/// Stands between two members and cuts every stream after some bytes, mostly in the middle of a frame.
async fn cut_short(listener: TcpListener, target: Url) {
    let mut random = 1_u64;
    while let Ok(mut dialler) = listener.accept().await {
        let mut target = TcpStream::connect(target.host_port()).await.expect("it listens");
        let mut handshake = [0; HANDSHAKE_BYTES];
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut budget = (random >> 33) as usize % 20_000;
        let _ = async {
            read_exact(&mut dialler, &mut handshake).await?;
            write_all(&mut target, &handshake).await?;
            read_exact(&mut target, &mut handshake).await?;
            write_all(&mut dialler, &handshake).await?;
            while budget > 0 {
                let mut byte = vec![0; budget.min(37)];
                read_exact(&mut dialler, &mut byte).await?;
                write_all(&mut target, &byte).await?;
                budget -= byte.len();
            }
            std::io::Result::Ok(())
        }
        .await;
    }
}

#[test]
fn streams_that_are_cut_lose_frames_but_never_repeat_damage_or_reorder_them() {
    tell(|| async {
        let (one, two) = (Member::of(ONE), Member::of(TWO));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = Url::parse(&format!("http://{}", listener.local_addr().expect("is bound"))).expect("valid");
        let _proxy = glommio::spawn_local(cut_short(listener, two.url.clone()));
        one.knows(TWO, &url);
        let mut next = 0;
        until("enough has come through many cuts", || {
            for _ in 0..7 {
                let command = Bytes::from(vec![next as u8; next as usize % 300]);
                let _ = one.links.send(TWO, &Forward { ticket: next, process: 1, term: 1, shard: 1, command }.into());
                next += 1;
            }
            one.heard.links.borrow().len() > 20
        })
        .await;
        let frames = two.frames();
        let tickets: Vec<u64> = frames
            .iter()
            .map(|frame| {
                let Frame::Forward(forward) = frame else { panic!("{frame:?}") };
                let want = vec![forward.ticket as u8; forward.ticket as usize % 300];
                assert_eq!(forward.command, want);
                forward.ticket
            })
            .collect();
        assert!(tickets.len() > 100 && tickets.is_sorted_by(|one, next| one < next), "{tickets:?}");
    });
}

/// A stream made by hand, after its handshake.
async fn by_hand(member: &Member, from: MemberId, executor: usize) -> TcpStream {
    let mut stream = TcpStream::connect(member.url.host_port()).await.expect("it listens");
    let hello = Local::new(CLUSTER, from.0, 1, SHARDS, executor, 4).hello(ONE, Held::default());
    write_all(&mut stream, &hello.encode()).await.expect("sent");
    let mut answer = [0; HANDSHAKE_BYTES];
    read_exact(&mut stream, &mut answer).await.expect("answered");
    assert_eq!(Answer::decode(&answer).expect("an answer").refusal, None);
    stream
}

/// Waits for the end of a stream that says nothing.
async fn end_of(stream: &mut TcpStream) {
    let mut nothing = [0; 1];
    assert!(read_exact(stream, &mut nothing).await.is_err(), "nothing is ever said on it");
}

#[test]
fn a_stream_with_anything_wrong_is_closed_and_what_came_before_is_kept() {
    tell(|| async {
        let one = Member::of(ONE);
        let mut stream = by_hand(&one, TWO, 0).await;
        let mut bytes = Vec::new();
        confirm(1).encode(&mut bytes).expect("within the limits");
        let good = bytes.len();
        confirm(2).encode(&mut bytes).expect("within the limits");
        bytes[good + 40] ^= 1;
        write_all(&mut stream, &bytes).await.expect("sent");
        end_of(&mut stream).await;
        assert_eq!(one.frames(), [confirm(1)]);
        assert!(one.links.shared.incoming.borrow().is_empty());
    });
}

#[test]
fn a_newer_stream_of_the_same_executor_takes_the_place_of_an_older_one() {
    tell(|| async {
        let one = Member::of(ONE);
        let mut older = by_hand(&one, TWO, 0).await;
        let _other = by_hand(&one, TWO, 1).await;
        let _newer = by_hand(&one, TWO, 0).await;
        end_of(&mut older).await;
        until("two are left", || one.links.shared.incoming.borrow().len() == 2).await;
    });
}

#[test]
fn a_peer_that_falls_silent_or_takes_nothing_is_given_up() {
    tell(|| async {
        let one = Member::of(ONE);
        // It greets, and then neither says nor takes anything.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = Url::parse(&format!("http://{}", listener.local_addr().expect("is bound"))).expect("valid");
        one.knows(TWO, &url);
        let mut deaf = listener.accept().await.expect("it dials");
        let mut hello = [0; HANDSHAKE_BYTES];
        read_exact(&mut deaf, &mut hello).await.expect("its hello");
        let own = Local::new(CLUSTER, TWO.0, 1, SHARDS, 0, 1);
        let answer = Answer { refusal: None, hello: own.hello(ONE, Held::default()) };
        write_all(&mut deaf, &answer.encode()).await.expect("sent");
        let mut silent = by_hand(&one, TWO, 0).await;
        until("connected", || one.is_up(TWO)).await;

        let begun = Instant::now();
        let big: Frame =
            Forward { ticket: 1, process: 1, term: 1, shard: 1, command: Bytes::from(vec![0; 4 << 20]) }.into();
        let mut sent = 0;
        while one.links.send(TWO, &big) == Ok(()) {
            sent += 1;
            assert!(sent < 100, "there is a limit");
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(one.links.send(TWO, &big), Err(Unsent::Full));
        assert_eq!(one.links.send(TWO, &confirm(1)), Ok(()), "small frames have room of their own");
        end_of(&mut silent).await;
        until("the deaf one is given up", || !one.is_up(TWO)).await;
        let took = begun.elapsed();
        assert!(Duration::from_secs(4) < took && took < Duration::from_secs(12), "{took:?}");
    });
}
