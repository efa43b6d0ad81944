//! A session: the answer that stays open for as long as a program runs.

use std::time::Duration;

use minato_inspect::{Enter, Host, SessionEnd, SessionEvent, SessionId};
use tokio::task::JoinHandle;

use super::lines::Lines;
use super::{BindTaker, Client, Exchange, RequestError};
use crate::failure::Failure;

/// An open session. Dropping it closes the connection, which ends the session.
#[derive(Debug)]
pub(crate) struct Session {
    /// The host as it was when the session opened.
    pub(crate) host: Host,
    /// How a program gets into it.
    pub(crate) enter: Enter,
    id: SessionId,
    events: Events,
    client: Client,
}

/// What comes while a session is open.
#[derive(Debug, PartialEq)]
pub(crate) enum News {
    /// Something the user should read.
    Warning(String),
    /// The program could not bind a port.
    BindFailed(Failure),
    /// The engine is no more, and the network with it.
    EngineEnded(String),
}

/// How long the last news may take.
const LAST_NEWS: Duration = Duration::from_secs(1);

/// How a session ended.
pub(crate) type Ending = Result<SessionEnd, RequestError>;

impl Session {
    /// Takes the first event, which says where to go.
    pub(super) async fn begin(client: Client, exchange: Exchange) -> Result<Session, RequestError> {
        let mut events = Events(Lines::of(exchange));
        match events.next().await? {
            Some(SessionEvent::Opened { session, host, enter }) => {
                Ok(Session { host: *host, enter, id: session, events, client })
            }
            Some(SessionEvent::EngineStopping { reason }) => Err(RequestError::Gone(reason)),
            Some(SessionEvent::BindFailed { problem }) => {
                Err(RequestError::Nonsense(format!("a bind before the session was open: {}", problem.title)))
            }
            Some(SessionEvent::Warning { message }) => {
                Err(RequestError::Nonsense(format!("a warning before the session was open: {message}")))
            }
            Some(SessionEvent::Staying { .. }) => Err(RequestError::Nonsense("a session without a host".into())),
            None => Err(RequestError::Gone("the session closed before it was open".into())),
        }
    }

    /// Waits for the next thing that happens. May be cancelled and called again.
    pub(crate) async fn news(&mut self) -> News {
        self.events.news().await
    }

    /// Where the binds of its programs go.
    pub(crate) fn binds(&self) -> Binds {
        Binds { client: self.client.clone(), session: self.id, direct: self.host.direct, sole: false }
    }

    /// Where the binds of its program go, if it starts no other: its host ends faster then.
    pub(crate) fn binds_of_sole_program(&self) -> Binds {
        Binds { sole: true, ..self.binds() }
    }

    /// Ends the session and waits until its host is gone, if it was the host's last.
    pub(crate) async fn end(self) -> Ending {
        self.client.end_session(self.id).await
    }

    /// As [`Session::end`], with what the engine had said before and nobody has taken yet.
    pub(crate) async fn end_with_news(mut self) -> (Ending, Vec<News>) {
        let ending = self.client.end_session(self.id).await;
        let mut rest = Vec::new();
        // The stream ends with the session; one that does not is not waited for.
        while let Ok(news) = tokio::time::timeout(LAST_NEWS, self.news()).await {
            if matches!(news, News::EngineEnded(_)) {
                break;
            }
            rest.push(news);
        }
        (ending, rest)
    }
}

/// Where the binds of a session's programs go; it tells which of them have failed.
#[derive(Clone, Debug)]
pub(crate) struct Binds {
    client: Client,
    session: SessionId,
    /// Whether connections go there too.
    pub(crate) direct: bool,
    sole: bool,
}

impl Binds {
    /// The same for one program, whose connections go there or not.
    pub(crate) fn for_program(&self, direct: bool) -> Binds {
        Binds { direct, ..self.clone() }
    }

    /// Asks for a place to which those of one program can be handed; `None` when the engine is another version, or is ending.
    pub(crate) fn taker(&self) -> JoinHandle<Option<BindTaker>> {
        let (client, session, sole) = (self.client.clone(), self.session, self.sole);
        tokio::spawn(async move { client.bind_taker(session, sole).await.ok() })
    }
}

/// A session without a host: the network stays for as long as it is open, or until the engine is ended otherwise.
#[derive(Debug)]
pub(crate) struct Stay {
    id: SessionId,
    events: Events,
    client: Client,
}

impl Stay {
    /// Takes the first event.
    pub(super) async fn begin(client: Client, exchange: Exchange) -> Result<Stay, RequestError> {
        let mut events = Events(Lines::of(exchange));
        match events.next().await? {
            Some(SessionEvent::Staying { session }) => Ok(Stay { id: session, events, client }),
            Some(SessionEvent::EngineStopping { reason }) => Err(RequestError::Gone(reason)),
            other => Err(RequestError::Nonsense(format!("it was asked to stay, and answers {other:?}"))),
        }
    }

    /// Waits for the next thing that happens. May be cancelled and called again.
    pub(crate) async fn news(&mut self) -> News {
        self.events.news().await
    }

    /// Lets the network go.
    pub(crate) async fn end(self) -> Ending {
        self.client.end_session(self.id).await
    }
}

/// JSON Lines from a streaming body.
#[derive(Debug)]
struct Events(Lines);

impl Events {
    async fn news(&mut self) -> News {
        match self.next().await {
            Ok(Some(SessionEvent::Warning { message })) => News::Warning(message),
            Ok(Some(SessionEvent::BindFailed { problem })) => News::BindFailed(Failure::from(*problem)),
            Ok(Some(SessionEvent::EngineStopping { reason })) => News::EngineEnded(reason),
            Ok(Some(SessionEvent::Opened { .. } | SessionEvent::Staying { .. })) => {
                News::EngineEnded("it opened a session twice".into())
            }
            Ok(None) => News::EngineEnded("it closed the session".into()),
            Err(RequestError::Nonsense(why)) => News::EngineEnded(why),
            Err(_) => News::EngineEnded("its connection broke off: it was killed, or it failed".into()),
        }
    }

    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Result<Option<SessionEvent>, RequestError> {
        let Some(line) = self.0.next().await? else { return Ok(None) };
        serde_json::from_slice(&line).map(Some).map_err(|error| RequestError::Nonsense(error.to_string()))
    }
}
