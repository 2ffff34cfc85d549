//! Durable writes that all who wait share.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, Waker};

use glommio::io::{DmaFile, OpenOptions};

type Result<T> = std::result::Result<T, glommio::GlommioError<()>>;

/// Writes under way at most.
const WRITERS: usize = 2;
/// Bytes of the file, which is written over again and again.
const FILE_BYTES: u64 = 64 << 20;
/// What a write is a multiple of.
const BLOCK: usize = 4096;

/// The file, and what is to be written to it next.
pub(super) struct SharedWrites {
    file: DmaFile,
    next: Cell<u64>,
    gathered: RefCell<Vec<u8>>,
    /// How many writes have been begun.
    begun: Cell<u64>,
    /// Up to which of them, and with all before it, what they wrote is durable.
    durable: RefCell<Durable>,
    /// Writers with nothing to do.
    idle: RefCell<Vec<Waker>>,
}

#[derive(Default)]
struct Durable {
    /// Done before others that were begun earlier.
    early: Vec<u64>,
    upto: u64,
    /// Who waits, and for which write.
    waiting: Vec<(u64, Waker)>,
}

impl SharedWrites {
    /// Writes to this file, which is made.
    pub(super) async fn to(path: &Path) -> Result<Rc<Self>> {
        // Blocks that were never written would cost a commit of the file system's journal each.
        std::fs::write(path, vec![0; FILE_BYTES as usize])?;
        std::fs::File::open(path)?.sync_all()?;
        let file = OpenOptions::new().write(true).custom_flags(libc::O_DSYNC).dma_open(path).await?;
        let writes = Rc::new(Self {
            file,
            next: Cell::new(0),
            gathered: RefCell::default(),
            begun: Cell::new(0),
            durable: RefCell::default(),
            idle: RefCell::default(),
        });
        for _ in 0..WRITERS {
            let writes = Rc::clone(&writes);
            let write = async move {
                if let Err(error) = writes.write().await {
                    eprintln!("bare-responder: {error}");
                    std::process::exit(1);
                }
            };
            glommio::spawn_local(write).detach();
        }
        Ok(writes)
    }

    /// Returns when this is durable.
    pub(super) async fn keep(&self, bytes: &[u8]) {
        self.gathered.borrow_mut().extend_from_slice(bytes);
        let write = self.begun.get() + 1;
        if let Some(writer) = self.idle.borrow_mut().pop() {
            writer.wake();
        }
        poll_fn(|cx| {
            let mut durable = self.durable.borrow_mut();
            if durable.upto >= write {
                return Poll::Ready(());
            }
            durable.waiting.push((write, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// One of the writers.
    async fn write(&self) -> Result<()> {
        loop {
            let (number, buffer) = poll_fn(|cx| {
                self.take().map_or_else(
                    || {
                        self.idle.borrow_mut().push(cx.waker().clone());
                        Poll::Pending
                    },
                    Poll::Ready,
                )
            })
            .await;
            let bytes = buffer.len() as u64;
            if self.next.get() + bytes > FILE_BYTES {
                self.next.set(0);
            }
            let at = self.next.replace(self.next.get() + bytes);
            self.file.write_at(buffer, at).await?;
            self.durable.borrow_mut().done(number);
        }
    }

    fn take(&self) -> Option<(u64, glommio::io::DmaBuffer)> {
        let mut gathered = self.gathered.borrow_mut();
        if gathered.is_empty() {
            return None;
        }
        let mut buffer = self.file.alloc_dma_buffer(gathered.len().next_multiple_of(BLOCK));
        let (filled, rest) = buffer.as_bytes_mut().split_at_mut(gathered.len());
        filled.copy_from_slice(&gathered);
        rest.fill(0);
        gathered.clear();
        self.begun.set(self.begun.get() + 1);
        Some((self.begun.get(), buffer))
    }
}

impl Durable {
    fn done(&mut self, number: u64) {
        self.early.push(number);
        while let Some(at) = self.early.iter().position(|early| *early == self.upto + 1) {
            self.early.swap_remove(at);
            self.upto += 1;
        }
        let upto = self.upto;
        for (_, waker) in self.waiting.extract_if(.., |(write, _)| *write <= upto) {
            waker.wake();
        }
    }
}
