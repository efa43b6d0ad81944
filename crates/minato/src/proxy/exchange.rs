//! One request and its answer: an HTTP gateway as RFC 9110 §3.7 has it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;

use super::address::{Destination, Wanted};
use super::directory;
use super::page::Page;
use super::upstream::{Unanswered, Upstream};
use crate::client::RequestError;

/// What is sent back.
pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// Headers that are about one connection only, besides those that `Connection` names (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// A client's connection to the proxy.
#[derive(Debug)]
pub(super) struct Connection {
    client: SocketAddr,
    /// `http` or `https`, and the proxy's port.
    origin: (&'static str, u16),
    upstream: Upstream,
}

impl Connection {
    pub(super) fn new(client: SocketAddr, origin: (&'static str, u16)) -> Connection {
        Connection { client, origin, upstream: Upstream::new(client) }
    }

    /// The service's answer, or a page that says why there is none.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let headers = request.headers().clone();
        let answer = match self.wanted(&request).await {
            Ok(to) => match self.pass_on(&to, request).await {
                Ok(response) => return Ok(response),
                Err(unanswered) => explain(&to, unanswered).await,
            },
            Err(page) => *page,
        };
        Ok(answer.answer(&headers, self.origin))
    }

    /// Where a request is to go; or a page, when that is none of our services.
    async fn wanted(&self, request: &Request<Incoming>) -> Result<Destination, Box<Page>> {
        if request.method() == Method::CONNECT {
            let title = "this proxy stands before web servers; it makes no tunnels";
            return Err(Box::new(Page::new(StatusCode::METHOD_NOT_ALLOWED, title)));
        }
        // RFC 9112 §3.2.2: the authority of an absolute target goes before the header.
        let host = || request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
        let authority = request.uri().authority().map(hyper::http::uri::Authority::as_str).or_else(host);
        Err(Box::new(match Wanted::of(authority.unwrap_or_default()) {
            Wanted::Service(destination) => return Ok(destination),
            Wanted::Everything => {
                Page::new(StatusCode::OK, "every host of every network").listing(directory::networks().await)
            }
            Wanted::Network(network) => {
                let mut networks = directory::networks().await;
                networks.retain(|listed| listed.network == network.as_str());
                let is_there = !networks.is_empty();
                let status = if is_there { StatusCode::OK } else { StatusCode::NOT_FOUND };
                let title =
                    if is_there { format!("hosts of network '{network}'") } else { no_network(network.as_str()) };
                Page::new(status, title).listing(networks)
            }
            Wanted::Nonsense => Page::new(StatusCode::NOT_FOUND, "that is no name of a host")
                .detail("names are HOST.NET.localhost, or PORT.HOST.NET.localhost for another port of it")
                .listing(directory::networks().await),
            // RFC 9110 §15.5.20. Nothing is told: a page of somebody else's may ask under a name that leads here.
            Wanted::Foreign => {
                Page::new(StatusCode::MISDIRECTED_REQUEST, "this proxy serves names below localhost only")
                    .detail("names are HOST.NET.localhost")
            }
        }))
    }

    async fn pass_on(&self, to: &Destination, mut request: Request<Incoming>) -> Result<Response<Body>, Unanswered> {
        let asked = upgrade_of(request.headers());
        let own_side = asked.is_some().then(|| hyper::upgrade::on(&mut request));
        let one_by_one = request.version() < Version::HTTP_2;
        let mut response = self.upstream.send(to, self.rewritten(request, asked.as_ref()), one_by_one).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let other_side = hyper::upgrade::on(&mut response);
            if let Some(own_side) = own_side {
                tokio::spawn(tunnel(own_side, other_side));
            }
        } else {
            remove_hop_by_hop(response.headers_mut());
        }
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(BodyExt::boxed))
    }

    /// The request as the service gets it.
    fn rewritten(&self, request: Request<Incoming>, upgrade: Option<&HeaderValue>) -> Request<Incoming> {
        let (mut parts, body) = request.into_parts();
        let authority = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        let headers = &mut parts.headers;
        remove_hop_by_hop(headers);
        // We have taken the body to read it, which is what it asks for (RFC 9110 §10.1.1).
        headers.remove(header::EXPECT);
        join_cookies(headers);
        if let Some(authority) = authority {
            headers.insert(header::HOST, authority);
        }
        if let Some(protocol) = upgrade {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, protocol.clone());
        }
        self.add_forwarded(headers);
        let path = parts.uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
        // `OPTIONS *` has no path; everything else that came as an HTTP target has one.
        parts.uri = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
        parts.version = Version::HTTP_11;
        Request::from_parts(parts, body)
    }

    /// Tells who asks, for what and how: RFC 7239 and the older headers, which more programs know.
    fn add_forwarded(&self, headers: &mut HeaderMap) {
        let (address, scheme) = (self.client.ip(), self.origin.0);
        let host = headers.get(header::HOST).cloned();
        let shown = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let node = if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() };
        append(headers, &header::FORWARDED, &format!("for={node};host=\"{shown}\";proto={scheme}"));
        append(headers, &HeaderName::from_static("x-forwarded-for"), &address.to_string());
        append(headers, &header::VIA, "1.1 minato");
        headers.insert("x-forwarded-proto", HeaderValue::from_static(scheme));
        if let Some(host) = host {
            headers.insert("x-forwarded-host", host);
        }
        headers.insert("x-forwarded-port", self.origin.1.into());
    }
}

/// What a request wants the connection to become: WebSocket, for the most part.
fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asks).cloned()
}

/// The words of a header that lists them.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION).filter_map(|name| name.parse().ok()).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Adds a value behind those that are there.
fn append(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    let before: Vec<&str> = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).collect();
    let all = before.into_iter().chain([value]).collect::<Vec<_>>().join(", ");
    // What can't be a header's value, a client can't have sent in another one.
    if let Ok(all) = HeaderValue::from_str(&all) {
        headers.insert(name, all);
    }
}

/// RFC 9113 §8.2.3: HTTP/2 may split cookies, HTTP/1.1 must not.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Bytes both ways, until both sides have ended.
async fn tunnel(own: OnUpgrade, other: OnUpgrade) {
    if let (Ok(own), Ok(other)) = tokio::join!(own, other) {
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(own), &mut TokioIo::new(other)).await;
    }
}

/// Why a service has not answered.
async fn explain(to: &Destination, unanswered: Unanswered) -> Page {
    let Destination { network, host, .. } = to;
    let error = match unanswered {
        Unanswered::Broken(error) => {
            let title = format!("'{host}' in network '{network}' gave no answer that is HTTP");
            return Page::new(StatusCode::BAD_GATEWAY, title).detail(error.to_string());
        }
        Unanswered::NotConnected(error) => error,
    };
    let networks = directory::networks().await;
    let known = networks.iter().find(|listed| listed.network == network.as_str());
    match (known, error) {
        (None, _) => Page::new(StatusCode::NOT_FOUND, no_network(network.as_str())).listing(networks),
        (Some(listed), error) if listed.has(host) => {
            Page::new(StatusCode::BAD_GATEWAY, error.reason()).listing(networks)
        }
        (Some(_), error) if !matches!(error, RequestError::Refused(_)) => {
            Page::new(StatusCode::BAD_GATEWAY, error.reason()).listing(networks)
        }
        (Some(_), _) => {
            let title = format!("there is no host '{host}' in network '{network}'");
            Page::new(StatusCode::NOT_FOUND, title).listing(networks)
        }
    }
}

fn no_network(name: &str) -> String {
    format!("no network '{name}' of yours is running")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_is_about_one_connection_goes_no_further() {
        let mut some =
            headers(&[("connection", "close, X-Mine"), ("x-mine", "1"), ("te", "trailers"), ("x-other", "2")]);
        remove_hop_by_hop(&mut some);
        assert_eq!(some, headers(&[("x-other", "2")]));
    }

    #[test]
    fn who_asks_is_told_in_both_ways() {
        let connection = Connection::new("[::1]:5000".parse().unwrap(), ("http", 7080));
        let mut some = headers(&[("host", "web.shop.localhost:7080"), ("x-forwarded-for", "192.0.2.1")]);
        connection.add_forwarded(&mut some);
        assert_eq!(some["forwarded"], "for=\"[::1]\";host=\"web.shop.localhost:7080\";proto=http");
        assert_eq!(some["x-forwarded-for"], "192.0.2.1, ::1");
        assert_eq!(some["x-forwarded-host"], "web.shop.localhost:7080");
        assert_eq!(
            (&some["x-forwarded-proto"], &some["x-forwarded-port"]),
            (&"http".parse().unwrap(), &"7080".parse().unwrap())
        );
    }

    #[test]
    fn cookies_are_one_header() {
        let mut some = HeaderMap::new();
        some.append("cookie", HeaderValue::from_static("a=1"));
        some.append("cookie", HeaderValue::from_static("b=2"));
        join_cookies(&mut some);
        assert_eq!(some.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn only_who_says_so_upgrades() {
        assert!(upgrade_of(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])).is_some());
        assert!(upgrade_of(&headers(&[("upgrade", "h2c")])).is_none());
    }
}
