// A model of the pattern, not tokio itself: a resource that asks the thread
// which polls it for a runtime.
use std::task::{Context, Poll, Wake, Waker};
use std::{cell::Cell, future::Future, panic, pin::Pin, sync::Arc};

thread_local! { static RUNTIME: Cell<Option<&'static str>> = Cell::new(None); }

struct Mail; // stands for a socket: somebody has to watch it

impl Future for Mail {
    type Output = String;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<String> {
        let Some(watcher) = RUNTIME.get() else {
            panic!("there is no reactor running")
        };
        Poll::Ready(format!("mail, watched by runtime {watcher}"))
    }
}

struct Quiet;
impl Wake for Quiet { fn wake(self: Arc<Self>) {} }

fn block_on(mut mail: Mail) -> String { // an executor, and nothing else
    let waker = Waker::from(Arc::new(Quiet));
    let mut task = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(text) = Pin::new(&mut mail).poll(&mut task) { return text }
    }
}

fn in_runtime(name: &'static str, mail: Mail) -> String { // an executor with a reactor
    RUNTIME.set(Some(name));
    let text = block_on(mail);
    RUNTIME.set(None);
    text
}

fn main() {
    panic::set_hook(Box::new(|_| ())); // the panic is told below
    println!("with a runtime: {}", in_runtime("A", Mail));
    match panic::catch_unwind(|| block_on(Mail)) {
        Ok(text) => println!("bare executor: {text}"),
        Err(told) => {
            let why = told.downcast_ref::<&str>().unwrap();
            println!("bare executor: panic, {why}")
        }
    }
}
