//! What a kernel is handed by others: by other kernels, by handlers' calls that ended, by the HTTP API and by plugins.
//! Bytes of its own clients come by `Kernel::readable`.

use super::foresee::Revoked;
use super::live::LiveConnection;
use crate::auth::{Authenticator, Outcome};
use crate::flow::{App, Generation, Publishing, Question, Target as Channels, Wish};
use crate::hub::{self, AskedBy, Page, Tally};
use crate::model::{
    AppId, AppStats, ChannelInfo, ChannelName, Close, ConnectionId, ConnectionInfo, Content, Draft, Member, Message,
    Position, Refusal, Slot, Target,
};
use crate::observe::Via;
use crate::policy::{Permit, Subscribe};
use crate::script::{self, Asker, Finished};
use std::fmt;
use std::sync::Arc;

/// One thing that a kernel is told or asked. None of them waits for another.
pub enum Input {
    /// Between hubs.
    Hub(hub::Message),
    /// These files are in force from now on.
    Generation(Arc<Generation>),
    /// Rows behind URLs are others than before, or too old: what this app's rules allowed is decided again.
    Rows(AppId),
    /// Close all connections, `pace` of them a second; each with its dialect's close or this one.
    Drain {
        pace: u32,
        close: Close,
    },
    /// To the home: what somebody who is no client publishes.
    Publish(Box<Publish>),
    /// To the home: what its class's handlers say of a publication, which is not made yet.
    Decide(Box<Decide>),
    /// Something done to each connection of a target that is here.
    Each(Box<Each>),
    Ask(Box<Ask>),
    /// A handler's call has ended.
    Ended(Box<Ended>),
    Reply(Box<Reply>),
    Refused(Box<Refused>),
    Answer(Box<Answered>),
    /// A token was judged that had to wait for keys or rows.
    Judged(Box<Judged>),
    /// What its messages had a handler do.
    Charge {
        client: Client,
        items: u32,
    },
    /// A row came that a client's message waits for, or did not come.
    Row {
        client: Client,
        came: bool,
    },
    /// Another kernel found too little to give up of what this app holds.
    Relieve(AppId),
}

/// A connection of a kernel. It may be gone: whatever is meant for it goes with it.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub shard: u16,
    pub slot: Slot,
    pub id: ConnectionId,
}

/// The answer to the message of a client that a handler was called for.
pub struct Reply {
    pub to: Client,
    pub asker: Asker,
    pub message: Message,
}

/// A handler said no, or failed: the client is told where it asked for something.
pub struct Refused {
    pub to: Client,
    pub event: script::Event,
    pub refusal: Refusal,
}

/// A home's answer to a client's question.
pub struct Answered {
    pub to: Client,
    pub question: Question,
    pub told: Told,
}

/// Where an answer goes that somebody outside of the kernels waits for. Dropped unused, it says that there is none.
pub struct Tell<T>(Box<dyn FnOnce(T) + Send>);

/// A publication of the API, a route or a plugin.
pub struct Publish {
    pub app: Arc<App>,
    pub publishing: Publishing,
    pub tally: Option<Arc<Tally>>,
    pub via: Via,
    pub handlers: ByHandlers,
}

/// What the handlers of a channel's class have to do with a publication.
pub enum ByHandlers {
    /// It comes of one of them: none is called again.
    Unasked,
    /// `publish` decides first, `published` hears of it. `refused`: why it was not published.
    Asked { generation: u64, refused: Tell<Refusal> },
    /// They were asked, and this call of `published` is to follow.
    Told(Option<Box<Wish>>),
}

pub struct Decide {
    pub app: Arc<App>,
    pub generation: u64,
    pub publishing: Publishing,
    pub tell: Tell<Result<Decided, Refusal>>,
}

/// A publication that may be made, and the call of `published` that follows it.
pub struct Decided {
    pub publishing: Publishing,
    pub published: Option<Wish>,
}

pub struct Each {
    pub app: AppId,
    pub target: Arc<Target>,
    pub act: Arc<Act>,
    /// How many connections there were.
    pub tell: Option<Tell<u32>>,
}

/// What is done to a connection in somebody else's name.
#[derive(Debug)]
pub enum Act {
    Send(Content),
    Subscribe(Permit<Subscribe>, AskedBy),
    /// It is told.
    Unsubscribe(ChannelName),
    /// It is not told.
    Leave(ChannelName),
    Close(Close),
}

/// A question about what a kernel has.
pub enum Ask {
    /// To the home.
    Presence {
        app: AppId,
        channel: ChannelName,
        tell: Tell<Vec<Member>>,
    },
    /// To the home.
    History {
        app: AppId,
        channel: ChannelName,
        since: Option<Position>,
        limit: usize,
        tell: Tell<Page>,
    },
    /// Those that pass, `limit` at most, by name.
    Channels {
        app: AppId,
        limit: usize,
        pass: Arc<Pass>,
        tell: Tell<Vec<ChannelInfo>>,
    },
    /// `limit` at most, and how many there are.
    Connections {
        app: AppId,
        target: Arc<Target>,
        limit: usize,
        tell: Tell<(Vec<ConnectionInfo>, usize)>,
    },
    Stats {
        app: AppId,
        claims: Arc<[String]>,
        tell: Tell<AppStats>,
    },
    Live {
        id: ConnectionId,
        tell: Tell<Option<LiveConnection>>,
    },
    /// What this generation would end, from this slot on; the slot to go on with.
    Foresee {
        candidate: Arc<Generation>,
        from: Slot,
        tell: Tell<(Revoked, Option<Slot>)>,
    },
    /// Closes connections without a frame for so long. How many.
    Cleanup {
        app: AppId,
        idle_ms: u64,
        tell: Tell<u32>,
    },
}

/// Which channels a question is about.
pub type Pass = dyn Fn(&ChannelName) -> bool + Send + Sync;

/// What a client asked of a channel's home.
#[derive(Debug)]
pub enum Told {
    History { channel: ChannelName, page: Page },
    Presence { channel: ChannelName, members: Vec<Member> },
    Overloaded,
}

/// A call that has ended, and who wanted it.
pub struct Ended {
    pub cause: Cause,
    pub finished: Finished,
}

/// Why a handler was called.
pub enum Cause {
    /// A client did something. `failed`: what it reads where the handler fails.
    Client { client: Client, failed: Option<Arc<str>> },
    /// A client's subscribe message `number` goes on with this channel, as it wrote it.
    Subscribe {
        client: Client,
        failed: Option<Arc<str>>,
        permit: Permit<Subscribe>,
        text: Box<str>,
        since: Option<Position>,
        number: u32,
    },
    /// It decided about a client's publication.
    ClientPublish {
        client: Client,
        failed: Option<Arc<str>>,
        app: Arc<App>,
        generation: u64,
        publishing: Box<Publishing>,
    },
    /// About one of the API.
    Publish(Box<Publish>),
    /// About one of several.
    Decide(Box<Decide>),
}

/// A token, judged.
pub struct Judged {
    pub client: Client,
    pub outcome: Outcome,
    pub by: Arc<Authenticator>,
    pub question: Question,
}

impl<T> Tell<T> {
    pub fn new(told: impl FnOnce(T) + Send + 'static) -> Tell<T> {
        Tell(Box::new(told))
    }

    pub fn tell(self, answer: T) {
        (self.0)(answer)
    }
}

impl Publish {
    /// The home of its channel.
    pub fn home(&self, shards: u16) -> u16 {
        self.publishing.target.home(shards)
    }

    /// What comes of a handler.
    pub fn unasked(app: &Arc<App>, target: Channels, draft: Draft, tally: Arc<Tally>) -> Publish {
        let publishing = Publishing { target, draft, sender: None, answer: None };
        let (tally, handlers) = (Some(tally), ByHandlers::Unasked);
        Publish { app: app.clone(), publishing, tally, via: Via::Plugin, handlers }
    }
}

impl Cause {
    /// Whether anything follows a call that has ended well.
    pub fn goes_on(&self) -> bool {
        !matches!(self, Cause::Client { .. })
    }

    /// Which kernel hears of the call's end: who publishes next by the same entity must not overtake it, so a decision
    /// goes to the channel's home at once.
    pub fn shard(&self, shards: u16) -> u16 {
        match self {
            Cause::Client { client, .. } | Cause::Subscribe { client, .. } => client.shard,
            Cause::ClientPublish { publishing, .. } => publishing.target.home(shards),
            Cause::Publish(publish) => publish.home(shards),
            Cause::Decide(decide) => decide.publishing.target.home(shards),
        }
    }
}

impl<T> fmt::Debug for Tell<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Tell")
    }
}

/// For traces: what it is and whom it is about, without what a client said.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Input::Hub(message) => write!(f, "Hub({message:?})"),
            Input::Generation(generation) => write!(f, "Generation({})", generation.number),
            Input::Rows(app) => write!(f, "Rows({})", app.0),
            Input::Drain { pace, close } => write!(f, "Drain({pace}, {})", close.code),
            Input::Publish(publish) => write!(f, "Publish({})", publish.publishing.target.channel()),
            Input::Decide(decide) => write!(f, "Decide({})", decide.publishing.target.channel()),
            Input::Each(each) => write!(f, "Each({:?}, {:?})", each.target, each.act),
            Input::Ask(ask) => write!(f, "Ask({ask:?})"),
            Input::Ended(ended) => write!(f, "Ended({:?}, {:?})", ended.cause, ended.finished.result),
            Input::Reply(reply) => write!(f, "Reply({})", reply.to.id),
            Input::Refused(told) => write!(f, "Refused({}, {})", told.to.id, told.refusal.code.as_str()),
            Input::Answer(answered) => write!(f, "Answer({})", answered.to.id),
            Input::Judged(judged) => write!(f, "Judged({})", judged.client.id),
            Input::Charge { client, items } => write!(f, "Charge({}, {items})", client.id),
            Input::Row { client, came } => write!(f, "Row({}, {came})", client.id),
            Input::Relieve(app) => write!(f, "Relieve({})", app.0),
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Cause::Client { client, .. } => write!(f, "of {}", client.id),
            Cause::Subscribe { client, text, .. } => write!(f, "{} subscribes {text}", client.id),
            Cause::ClientPublish { client, generation, publishing, .. } => {
                write!(f, "{} publishes to {} by {generation}", client.id, publishing.target.channel())
            }
            Cause::Publish(publish) => write!(f, "publish to {}", publish.publishing.target.channel()),
            Cause::Decide(decide) => write!(f, "decide about {}", decide.publishing.target.channel()),
        }
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Ask::Presence { channel, .. } => write!(f, "Presence({channel})"),
            Ask::History { channel, since, limit, .. } => write!(f, "History({channel}, {since:?}, {limit})"),
            Ask::Channels { limit, .. } => write!(f, "Channels({limit})"),
            Ask::Connections { target, limit, .. } => write!(f, "Connections({target:?}, {limit})"),
            Ask::Stats { .. } => f.write_str("Stats"),
            Ask::Live { id, .. } => write!(f, "Live({id})"),
            Ask::Foresee { candidate, from, .. } => write!(f, "Foresee({}, {from})", candidate.number),
            Ask::Cleanup { idle_ms, .. } => write!(f, "Cleanup({idle_ms})"),
        }
    }
}
