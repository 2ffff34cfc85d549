//! One thread: its connections and watchers, from the first connect to the last answer.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use glommio::{Latency, Placement, Shares, Task, TaskQueueHandle};

use crate::control::Control;
use crate::driver::Driver;
use crate::failure::Failure;
use crate::fanout::{Watched, Watcher};
use crate::local::Local;
use crate::pace::{Pace, Schedule};
use crate::record::{Interval, Recorder, Tally, Window};
use crate::ring;
use crate::script::{Prefill, Stage};

/// How often a thread looks for what has no event of its own: late answers, the end.
const LOOK_AROUND: Duration = Duration::from_millis(10);

/// How long watchers keep a thread from looking for answers.
const WATCHERS_RUN: Duration = Duration::from_micros(500);

/// Requests under way per connection while keys are written that will be read.
const PREFILL_DEPTH: usize = 16;

/// What a thread tells the main thread.
pub(crate) enum Message {
    /// All connections are open, and what will be read is written.
    Ready,
    /// An interval is over.
    Interval(Interval),
    /// The end: everything that was measured, or nothing if the run has failed.
    Ended(Option<Box<Tally>>),
}

impl From<Interval> for Message {
    fn from(interval: Interval) -> Self {
        Self::Interval(interval)
    }
}

/// Starts thread `part`.
pub(crate) fn start(
    stage: Arc<Stage>,
    control: Arc<Control>,
    part: u32,
    messages: Sender<Message>,
) -> Result<JoinHandle<Option<()>>, Failure> {
    let cpus = &stage.plan.cpus;
    let cpu = (!cpus.is_empty()).then(|| cpus[part as usize % cpus.len()]);
    let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
    let spin = stage.plan.spin;
    let work = move || async move {
        let recorder = Recorder::new(messages.clone());
        let local = Rc::new(Local::new(stage, control, recorder));
        let tally = run(&local, part, &messages).await;
        // The main thread waits for this, or has gone because of a failure.
        let _ = messages.send(Message::Ended(tally));
    };
    ring::launch(format!("loadgen-{part}"), placement, spin, work)
        .map_err(|error| Failure::Own(format!("a thread cannot start{}: {error}", on_cpu(cpu))))
}

fn on_cpu(cpu: Option<usize>) -> String {
    cpu.map_or_else(String::new, |cpu| format!(" on CPU {cpu}"))
}

/// `None` when the run has failed.
async fn run(local: &Rc<Local>, part: u32, messages: &Sender<Message>) -> Option<Box<Tally>> {
    let share = |count: u32| (part..count).step_by(local.plan.threads as usize);
    let (asking, watching) = queues();
    let prepare = |number| spawn(local, asking, prepare(Rc::clone(local), number));
    let drivers = share(local.plan.connections).map(prepare).collect();
    let begin_watch = |number| spawn(local, watching, begin_watch(Rc::clone(local), number));
    let watchers = share(local.plan.watchers).map(begin_watch).collect();
    let (drivers, watchers) = (gather(local, drivers).await?, gather(local, watchers).await?);
    // Without the main thread the process ends.
    let _ = messages.send(Message::Ready);
    let window = begin(local).await?;
    let pace = pace(local, window, part);
    let drive = |(number, driver)| spawn(local, asking, drive(Rc::clone(local), number, driver, pace.clone()));
    let drivers = drivers.into_iter().map(drive).collect();
    let watch = |(watcher, begun)| spawn(local, watching, watch(watcher, begun));
    let watchers = watchers.into_iter().map(watch).collect();
    let keeping = keep(local, &pace);
    gather(local, drivers).await?;
    let ended = Instant::now();
    let resumed = gather(local, watchers).await?.into_iter().sum();
    drop(keeping);
    let mut tally = local.recorder.borrow_mut().end();
    tally.resumed = resumed;
    if let Pace::Open(schedule) = &pace {
        let end = local.control.stopped_at().map_or(ended, |at| at.min(ended));
        schedule.untaken(end).for_each(|due| tally.add_unsent(end.saturating_duration_since(due)));
    }
    Some(Box::new(tally))
}

/// Where requests are made, and where watchers get their events. Among thousands of these an answer would wait until all of
/// them have been looked at, and that would count as the server's time.
fn queues() -> (TaskQueueHandle, TaskQueueHandle) {
    let executor = glommio::executor();
    let watching = executor.create_task_queue(Shares::default(), Latency::Matters(WATCHERS_RUN), "watchers");
    (executor.current_task_queue(), watching)
}

/// Runs a task whose failure is that of the run.
fn spawn<T: 'static>(
    local: &Rc<Local>,
    queue: TaskQueueHandle,
    task: impl Future<Output = Result<T, Failure>> + 'static,
) -> Task<Option<T>> {
    let control = Arc::clone(&local.control);
    let judged = async move { task.await.map_err(|failure| control.fail(failure)).ok() };
    glommio::spawn_local_into(judged, queue).expect("a queue of this executor")
}

/// Waits for all tasks. `None` when the run has failed, here or elsewhere; then they are dropped where they are.
async fn gather<T>(local: &Rc<Local>, tasks: Vec<Task<Option<T>>>) -> Option<Vec<T>> {
    let all = async {
        let mut results = Vec::with_capacity(tasks.len());
        for task in tasks {
            results.push(task.await?);
        }
        Some(results)
    };
    let failure = async {
        while !local.control.has_failed() {
            glommio::timer::sleep(LOOK_AROUND).await;
            local.keep_house(Instant::now());
        }
        None
    };
    futures_lite::future::or(all, failure).await
}

/// Opens a connection, and writes its part of what will be read.
async fn prepare(local: Rc<Local>, number: u32) -> Result<(u32, Driver), Failure> {
    let mut driver = Driver::new(&local, number);
    driver.open().await?;
    driver.configure(PREFILL_DEPTH, None);
    let mut prefill = Prefill::new(Arc::clone(&local.stage), number);
    driver.drive(&mut prefill, &Pace::Unbounded(Arc::clone(&local.control))).await?;
    driver.configure(local.plan.pipeline, local.plan.requests_per_connection);
    Ok((number, driver))
}

async fn begin_watch(local: Rc<Local>, number: u32) -> Result<(Watcher, Watched), Failure> {
    let mut watcher = Watcher::new(&local, number);
    let begun = watcher.begin().await?;
    Ok((watcher, begun))
}

/// Waits until all threads are ready.
async fn begin(local: &Local) -> Option<Window> {
    loop {
        if local.control.has_failed() {
            return None;
        }
        if let Some(window) = local.control.window() {
            local.recorder.borrow_mut().begin(window);
            return Some(window);
        }
        glommio::timer::sleep(Duration::from_millis(1)).await;
    }
}

fn pace(local: &Local, window: Window, part: u32) -> Pace {
    let control = Arc::clone(&local.control);
    let Some(rate) = local.plan.rate else { return Pace::Closed(window, control) };
    let threads = local.plan.threads.min(local.plan.connections);
    let rate = rate / f64::from(threads);
    Pace::Open(Rc::new(Schedule::new(window, control, rate, part, threads)))
}

/// Keeps the schedule of an open loop; has everybody look around when it is over.
fn keep(local: &Rc<Local>, pace: &Pace) -> Option<Task<()>> {
    let Pace::Open(schedule) = pace else { return None };
    let (schedule, local) = (Rc::clone(schedule), Rc::clone(local));
    Some(glommio::spawn_local(async move {
        schedule.keep().await;
        local.seats.wake_all();
    }))
}

async fn drive(local: Rc<Local>, number: u32, mut driver: Driver, pace: Pace) -> Result<(), Failure> {
    let mut script = local.stage.script(number);
    driver.drive(script.as_mut(), &pace).await?;
    if local.plan.watchers > 0 {
        local.stage.fanout.writer_ended();
    }
    Ok(())
}

/// The watches that ended early.
async fn watch(mut watcher: Watcher, mut begun: Watched) -> Result<u64, Failure> {
    watcher.watch(&mut begun).await?;
    Ok(begun.resumed)
}
