// The same journey with an Rc, whose counter is not safe across threads.
use std::task::{Context, Poll};
use std::{future::Future, pin::Pin, rc::Rc, thread};

struct Report { user: Rc<String> }

impl Future for Report {
    type Output = usize;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(self.user.len())
    }
}

fn main() {
    let report = Report { user: Rc::new("mina".to_string()) };
    thread::spawn(move || drop(report));
}
