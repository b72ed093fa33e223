//! A request to become a WebSocket, judged by the real admission: tokens, origins, bounds.

use super::kernels::IP;
use super::play::Player;
use super::script::Exchange;
use super::web::{self, Answered};
use crate::listen::{Admission, Asked, Denied, Upgrade};
use hyper::Uri;
use hyper::header::HeaderMap;

impl Player {
    /// What it was answered; who was let in is connected from then on.
    pub(super) fn upgrade(
        &mut self,
        who: &str,
        target: &str,
        headers: &[(String, String)],
        exchange: &Exchange,
    ) -> Result<Answered, String> {
        self.may_connect(who)?;
        let uri: Uri = target.parse().map_err(|e| format!("`{target}` is no target of a request: {e}"))?;
        let headers = web::headers(headers)?;
        let (front, clock) = (&self.compiled.front, self.world.parts.clock.now());
        let (shared, attempts) = (self.world.parts.kernels.port.shared().clone(), self.world.attempts.clone());
        let (entrance, app) = (&front.entrance, self.compiled.app.id);
        // The first listener on which the app is found; where it is on none, the first refuses.
        let leads = |listener: &u16| {
            let (path, query) = (uri.path(), uri.query().unwrap_or(""));
            let asked = Asked { listener: *listener, host: None, path, query, headers: &headers };
            entrance.router.find(&asked).iter().any(|candidate| candidate.app == app)
        };
        let listener = (0..entrance.listeners.len() as u16).find(leads).unwrap_or(0);
        let upgrade = Upgrade { listener, ip: exchange.from.unwrap_or(IP), uri: &uri, headers: &headers };
        let (counts, metrics) = (&shared.connections, &shared.metrics);
        let admission = Admission { front, counts, attempts: &attempts, metrics, now: clock };
        let judged = async {
            admission.attempt(upgrade.ip)?;
            admission.admit(upgrade).await.map(|admitted| admitted.newcomer)
        };
        let judged: Result<_, Denied> =
            self.world.answer(judged).ok_or("its token waits for something outside of the gateway")?;
        Ok(match judged {
            Ok(newcomer) => {
                let number = self.world.open_admitted(newcomer);
                self.people.insert(who.to_owned(), number);
                Answered { status: 101, headers: HeaderMap::new(), body: String::new() }
            }
            Err(denied) => Answered { status: denied.status.as_u16(), headers: denied.headers(), body: denied.body() },
        })
    }
}
