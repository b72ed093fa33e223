//! The sockets that are listened on, by number: opened and closed as generations come.

use crate::config::{Compiled, ConfigDiff, ListenerChange};
use crate::listen::{ListenerSettings, accept, bind, listen_again};
use crate::shard::Mailboxes;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Open listeners. Lives on the background runtime.
pub struct Listeners {
    open: BTreeMap<u16, Open>,
    /// By number: what each is bound to; 0 where it is gone.
    pub ports: Arc<ArcSwap<Vec<u16>>>,
}

struct Open {
    name: String,
    settings: ListenerSettings,
    address: SocketAddr,
    /// The same socket that `accepting` has.
    socket: TcpListener,
    accepting: Option<JoinHandle<()>>,
}

/// Sockets bound and not yet listened on: nothing has happened if they are dropped.
pub struct Bound(BTreeMap<u16, Open>);

impl Listeners {
    pub fn new() -> Listeners {
        Listeners { open: BTreeMap::new(), ports: Arc::default() }
    }

    /// Binds what is to be opened. Err: the listener's name and why.
    pub fn bind(&self, Compiled { listeners, .. }: &Compiled, diff: &ConfigDiff) -> Result<Bound, (String, String)> {
        let mut bound = BTreeMap::new();
        for change in &diff.listeners {
            let (Some(number), Some(settings)) = (change.opens(), listeners.get(&change.name)) else { continue };
            // Opened by a reload that a panic ended half-way: nothing came of it but this.
            if self.open.contains_key(&number) {
                continue;
            }
            // Another name for an address: its socket is taken over.
            let same = self.open.values().find(|open| open.settings.address == settings.address && !fresh(settings));
            let socket = same.map_or_else(|| bind(settings), |open| open.socket.try_clone());
            let opened = socket.and_then(|socket| Ok((socket.local_addr()?, socket)));
            let (address, socket) = opened.map_err(|e| (change.name.clone(), format!("{}: {e}", settings.address)))?;
            let (name, settings) = (change.name.clone(), settings.clone());
            bound.insert(number, Open { name, settings, address, socket, accepting: None });
        }
        Ok(Bound(bound))
    }

    /// Listens on what was bound, otherwise than before on what stays, and no longer on what is to be closed. Returns the
    /// new ones.
    pub fn take(
        &mut self,
        bound: Bound,
        compiled: &Compiled,
        diff: &ConfigDiff,
        mailboxes: &Mailboxes,
    ) -> Vec<(String, SocketAddr)> {
        for number in diff.listeners.iter().filter_map(ListenerChange::closes) {
            let Some(open) = self.open.remove(&number) else { continue };
            open.accepting.iter().for_each(JoinHandle::abort);
            tracing::info!(listener = &*open.name, address = %open.address, "no longer listening");
        }
        for (number, name) in diff.listeners.iter().filter_map(|change| Some((change.renews()?, &change.name))) {
            if let (Some(open), Some(settings)) = (self.open.get_mut(&number), compiled.listeners.get(name)) {
                open.settings = settings.clone();
                open.accept(number, mailboxes);
            }
        }
        let mut opened = Vec::new();
        for (number, mut open) in bound.0 {
            open.accept(number, mailboxes);
            opened.push((open.name.clone(), open.address));
            self.open.insert(number, open);
        }
        let count = self.open.keys().last().map_or(0, |n| usize::from(*n) + 1);
        let mut ports = vec![0; count];
        self.open.iter().for_each(|(number, open)| ports[usize::from(*number)] = open.address.port());
        self.ports.store(Arc::new(ports));
        opened
    }

    /// What is open, by name: whether it speaks TLS, and its address.
    pub fn all(&self) -> BTreeMap<&str, (bool, SocketAddr)> {
        self.open.values().map(|open| (&*open.name, (open.settings.tls.is_some(), open.address))).collect()
    }

    /// Accepts nobody any more.
    pub fn stop(&mut self) {
        self.open.values().flat_map(|open| &open.accepting).for_each(JoinHandle::abort);
        self.open.clear();
    }
}

impl Open {
    /// Accepts with its settings as they are now. Connections that wait in the kernel are accepted all the same.
    fn accept(&mut self, number: u16, mailboxes: &Mailboxes) {
        self.accepting.iter().for_each(JoinHandle::abort);
        // A socket that listens already takes another backlog (listen(2) again).
        let socket = listen_again(&self.socket, self.settings.backlog).and_then(|()| self.socket.try_clone());
        match socket {
            Ok(socket) => {
                let (admin, mailboxes) = (self.settings.admin, mailboxes.clone());
                self.accepting = Some(tokio::spawn(accepting(socket, &self.name, number, admin, mailboxes)));
            }
            Err(error) => tracing::error!(listener = &*self.name, %error, "a listener ended"),
        }
    }
}

/// Port 0: each time another one.
fn fresh(settings: &ListenerSettings) -> bool {
    settings.address.ends_with(":0")
}

/// Accepts for as long as it is polled, whatever goes wrong in between.
fn accepting(
    socket: TcpListener,
    name: &str,
    number: u16,
    admin: bool,
    mailboxes: Mailboxes,
) -> impl Future<Output = ()> + use<> {
    let tasks = mailboxes.shared.metrics.tasks.clone();
    let socket = Arc::new(socket);
    tasks.supervise(format!("listener {name}"), move || {
        let (socket, mailboxes) = (socket.clone(), mailboxes.clone());
        async move {
            let deliver = |accepted| mailboxes.accepted(accepted);
            let failed = |_: &std::io::Error| mailboxes.shared.metrics.limit(crate::observe::LimitName::OpenFiles, 1);
            let socket = socket.try_clone().map_err(|error| error.to_string())?;
            accept(socket, number, admin, deliver, failed).await.map_err(|error| error.to_string())
        }
    })
}
