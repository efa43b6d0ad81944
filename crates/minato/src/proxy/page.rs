//! Pages of the proxy's own: what there is, and why something is not there.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Response, StatusCode, header};

use super::directory::Listed;
use super::exchange::Body;

/// A page: what happened, what is known about it, and a list of networks.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) title: String,
    pub(super) details: Vec<String>,
    pub(super) networks: Vec<Listed>,
}

impl Page {
    pub(super) fn new(status: StatusCode, title: impl Into<String>) -> Page {
        Page { status, title: title.into(), details: Vec::new(), networks: Vec::new() }
    }

    pub(super) fn detail(mut self, line: impl Into<String>) -> Page {
        self.details.push(line.into());
        self
    }

    pub(super) fn listing(self, networks: Vec<Listed>) -> Page {
        Page { networks, ..self }
    }

    /// The page as the client wants it: HTML for browsers, text for others. `origin` is where the proxy listens: scheme and
    /// port.
    pub(super) fn answer(&self, request: &HeaderMap, origin: (&str, u16)) -> Response<Body> {
        let accepts = request.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (kind, text) = if accepts.contains("text/html") {
            ("text/html; charset=utf-8", self.html(origin))
        } else {
            ("text/plain; charset=utf-8", self.text(origin))
        };
        let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        headers.insert(header::SERVER, header::HeaderValue::from_static("minato"));
        response
    }

    fn text(&self, origin: (&str, u16)) -> String {
        let mut text = format!("minato: {}\n", self.title);
        self.details.iter().for_each(|line| text += &format!("  {line}\n"));
        for (url, note) in self.networks.iter().flat_map(|network| links(network, origin)) {
            text += &format!("  {url}  {note}\n");
        }
        text
    }

    fn html(&self, origin: (&str, u16)) -> String {
        let title = escape(&self.title);
        let details: String = self.details.iter().map(|line| format!("<p>{}</p>", escape(line))).collect();
        let rows = self.networks.iter().flat_map(|network| links(network, origin));
        let rows: String = rows
            .map(|(url, note)| format!("<tr><td><a href=\"{url}\">{url}</a></td><td>{}</td></tr>", escape(&note)))
            .collect();
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\
             </head><body><h1>{title}</h1>{details}<table>{rows}</table><p class=\"by\">minato proxy</p></body></html>\n"
        )
    }
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:50em;margin:3em auto;padding:0 1em}\
                     h1{font-size:1.3em}td{padding:.2em 2em .2em 0}.by{color:#777;margin-top:3em}";

/// Where each host of a network is reached, and what listens there. Names are labels: nothing in them needs escaping.
fn links(network: &Listed, (scheme, port): (&str, u16)) -> Vec<(String, String)> {
    let link = |(host, ports): &(String, Vec<u16>)| {
        let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let note = if ports.is_empty() { "nothing listens".to_owned() } else { format!("listens on {ports}") };
        (format!("{scheme}://{host}.{}.localhost:{port}/", network.network), note)
    };
    network.hosts.iter().map(link).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let hosts = vec![("web".to_owned(), vec![80, 8080]), ("idle".to_owned(), Vec::new())];
        Page::new(StatusCode::NOT_FOUND, "no <such> host")
            .detail("a & b")
            .listing(vec![Listed { network: "shop".into(), hosts }])
    }

    #[test]
    fn text_lists_what_there_is() {
        let text = page().text(("http", 7080));
        assert_eq!(
            text,
            "minato: no <such> host\n  a & b\n  http://web.shop.localhost:7080/  listens on 80, 8080\n  \
             http://idle.shop.localhost:7080/  nothing listens\n"
        );
    }

    #[test]
    fn html_escapes_what_it_was_given() {
        let html = page().html(("https", 7443));
        assert!(
            html.contains("no &lt;such&gt; host") && html.contains("a &amp; b") && !html.contains("<such>"),
            "{html}"
        );
        assert!(html.contains("<a href=\"https://web.shop.localhost:7443/\">"), "{html}");
    }
}
