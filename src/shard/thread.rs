//! Shards as threads: one runtime each, started together.

use super::door::{Accepted, Closed, Door, NewConnection};
use super::mailbox::{Letter, Mailbox};
use super::shard::Shard;
use crate::flow::Generation;
use crate::kernel::{Inbox, Shared};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// An internal error: `EX_SOFTWARE` of sysexits.h.
const EX_SOFTWARE: i32 = 70;

/// The running shards.
pub struct Shards {
    pub mailboxes: Mailboxes,
    threads: Vec<JoinHandle<()>>,
}

/// The ways to all shards.
#[derive(Clone)]
pub struct Mailboxes {
    all: Arc<[Arc<Mailbox>]>,
    pub shared: Arc<Shared>,
}

struct MailboxDoor {
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
}

impl Door for MailboxDoor {
    fn closed(&self) -> Option<Closed> {
        self.shared.draining.load(Ordering::Relaxed).then_some(Closed::Draining)
    }

    fn adopt(&self, connection: NewConnection) {
        self.mailbox.send(Letter::Adopt(Box::new(connection)));
    }
}

/// Starts them. `handshake` runs on each shard's thread for every socket that it is given, until the socket is adopted
/// or closed.
pub fn start<F>(
    generation: Arc<Generation>,
    shared: Arc<Shared>,
    handshake: impl Fn(Accepted, Rc<dyn Door>) -> F + Clone + Send + 'static,
) -> io::Result<Shards>
where
    F: Future<Output = ()> + 'static,
{
    let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..shared.shards()).map(|n| Mailbox::new(n as u16)).unzip();
    shared.set_inboxes(mailboxes.iter().map(|mailbox| mailbox.clone() as Arc<dyn Inbox>).collect());
    let all = Mailboxes { all: mailboxes.clone().into(), shared: shared.clone() };
    let mut threads = Vec::new();
    for (mailbox, inputs) in mailboxes.into_iter().zip(receivers) {
        let (generation, shared, handshake) = (generation.clone(), shared.clone(), handshake.clone());
        let runtime = move || -> io::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
            runtime.block_on(async move {
                let door: Rc<dyn Door> = Rc::new(MailboxDoor { mailbox: mailbox.clone(), shared: shared.clone() });
                let shard = Shard::new(mailbox, inputs, generation, shared)?;
                shard
                    .run(move |accepted| {
                        tokio::task::spawn_local(handshake(accepted, door.clone()));
                    })
                    .await
            })
        };
        let name = format!("shard-{}", threads.len());
        threads.push(std::thread::Builder::new().name(name).spawn(move || {
            // Half a gateway is worse than none: whoever watches the process starts it again.
            match catch_unwind(AssertUnwindSafe(runtime)) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::error!(%error, "a shard ended"),
                Err(_) => tracing::error!("a shard ended by a mistake of Weir's own"),
            }
            crate::observe::finish_log();
            std::process::exit(EX_SOFTWARE);
        })?);
    }
    Ok(Shards { mailboxes: all, threads })
}

impl Mailboxes {
    /// A fresh socket, to the shard with the fewest connections.
    pub fn accepted(&self, accepted: Accepted) {
        if let Some(mailbox) = self.shared.least_loaded().and_then(|shard| self.all.get(usize::from(shard))) {
            mailbox.send(Letter::Accepted(accepted));
        }
    }

    /// Ends their threads, whatever is open.
    pub fn stop(&self) {
        self.all.iter().for_each(|mailbox| mailbox.send(Letter::Stop));
    }
}

impl Shards {
    /// Waits until all have ended.
    pub fn join(self) {
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}
