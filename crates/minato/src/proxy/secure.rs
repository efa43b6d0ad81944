//! TLS at the proxy's port, under certificates of the user's own authority (`minato trust`).
//!
//! A certificate is made when a client asks for its name. The authority is looked for then, too: it may come and go while
//! the proxy runs.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use minato_host::sync::lock;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::address::Wanted;
use crate::trust::{self, Absent, Authority};

/// The first byte of a client that speaks TLS: a record with a handshake (RFC 8446 §5.1). No method of HTTP begins with it.
pub(crate) const HANDSHAKE: u8 = 22;

/// Most names whose certificates are kept.
const KEPT: usize = 256;
/// How long before its end a certificate is made anew.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// What clients get to see, by name.
#[derive(Default)]
pub(super) struct Secure {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which file the rest comes from.
    source: Option<Source>,
    authority: Option<Authority>,
    configurations: HashMap<String, (SystemTime, Arc<ServerConfig>)>,
}

/// A file as it was.
#[derive(Clone, Copy, PartialEq)]
struct Source {
    inode: u64,
    changed: (i64, i64),
}

/// Why a client gets no certificate: an alert's number (RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refused {
    /// RFC 8446 §9.2: a server that needs the name asks for it so.
    NoName = 109,
    /// RFC 6066 §3: not a name of ours, or there is no authority for any.
    NotOurs = 112,
    /// The authority can't be used.
    Internal = 80,
}

impl Secure {
    /// Whether certificates can be made.
    pub(super) fn is_ready(&self) -> bool {
        let mut state = lock(&self.state);
        state.look();
        state.authority.is_some()
    }

    /// Does the handshake with a client.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = start.client_hello().server_name().map(str::to_owned);
        match self.configuration(name.as_deref(), SystemTime::now()) {
            Ok(configuration) => start.into_stream(configuration).await,
            Err(refused) => {
                start.io.write_all(&alert(refused)).await?;
                start.io.shutdown().await?;
                Err(io::Error::other("no certificate for this name"))
            }
        }
    }

    /// What a client that asks for this name gets.
    fn configuration(&self, name: Option<&str>, now: SystemTime) -> Result<Arc<ServerConfig>, Refused> {
        let name = name.ok_or(Refused::NoName)?.to_ascii_lowercase();
        if matches!(Wanted::of(&name), Wanted::Foreign | Wanted::Nonsense) {
            return Err(Refused::NotOurs);
        }
        let mut state = lock(&self.state);
        state.look();
        let authority = state.authority.as_ref().ok_or(Refused::NotOurs)?;
        if let Some((until, kept)) = state.configurations.get(&name)
            && now + MARGIN < *until
        {
            return Ok(Arc::clone(kept));
        }
        let (until, made) = configure(authority, &name, now).map_err(|_| Refused::Internal)?;
        if state.configurations.len() >= KEPT {
            state.configurations.clear();
        }
        state.configurations.insert(name, (until, Arc::clone(&made)));
        Ok(made)
    }
}

impl State {
    /// Takes notice of an authority that has come, gone or changed.
    fn look(&mut self) {
        let Ok(directory) = trust::directory() else { return };
        let source = source(&trust::file(&directory));
        if source != self.source {
            let loaded = source.map(|_| Authority::load(&directory));
            // Without descriptors, say, it can't be read now: the next client has it tried again.
            let source = source.filter(|_| !matches!(loaded, Some(Err(Absent::Unreadable(_)))));
            *self = State { source, authority: loaded.and_then(Result::ok), configurations: HashMap::new() };
        }
    }
}

fn source(path: &Path) -> Option<Source> {
    let metadata = fs::metadata(path).ok()?;
    // Its mode counts, too: a key that others may read is not used. That changes the time of the last change.
    Some(Source { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) })
}

fn configure(
    authority: &Authority,
    name: &str,
    now: SystemTime,
) -> Result<(SystemTime, Arc<ServerConfig>), Box<dyn std::error::Error>> {
    let leaf = authority.leaf(name, now)?;
    let mut configuration =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf.certificate], leaf.key)?;
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((leaf.until, Arc::new(configuration)))
}

/// A record with a fatal alert, before anything is encrypted (RFC 8446 §5.1, §6).
fn alert(refused: Refused) -> [u8; 7] {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    [ALERT, 3, 3, 0, 2, FATAL, refused as u8]
}
