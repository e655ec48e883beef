// A future is a value that is polled: begun by executor A, ended by B.
use std::task::{Context, Poll, Wake, Waker};
use std::{future::Future, pin::Pin, sync::Arc, thread};

enum Report { Begun, Fetched { rows: u32 }, Done } // as `async fn` would be

impl Future for Report {
    type Output = u32;
    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<u32> {
        match *self {
            Report::Begun => {
                *self = Report::Fetched { rows: 42 };
                task.waker().wake_by_ref(); // "poll me again"
                Poll::Pending
            }
            Report::Fetched { rows } => {
                *self = Report::Done;
                Poll::Ready(rows)
            }
            Report::Done => panic!("polled after its end"),
        }
    }
}

struct Executor { name: &'static str, thread: thread::Thread }

impl Wake for Executor {
    fn wake(self: Arc<Self>) { self.thread.unpark() }
}

fn executor(name: &'static str) -> Arc<Executor> {
    Arc::new(Executor { name, thread: thread::current() })
}

fn poll(on: &Arc<Executor>, report: &mut Report) -> Poll<u32> {
    let waker = Waker::from(on.clone());
    let outcome = Pin::new(report).poll(&mut Context::from_waker(&waker));
    println!("executor {}: {:?}", on.name, outcome);
    outcome
}

fn main() {
    let mut report = Report::Begun;
    let _ = poll(&executor("A"), &mut report); // begun in this thread
    let finish = move || {
        let b = executor("B");
        while poll(&b, &mut report).is_pending() { thread::park() }
    };
    thread::spawn(finish).join().unwrap(); // moved to another, and ended there
}
