//! `minato watch` in tests that must miss nothing of what happens next.

use minato_inspect::{ForwardRequest, ForwardSpec, Transport};

use crate::machine::{Account, Program, SOON, wait_until};
use crate::support::api::Api;

/// The host's port and the machine's, which no test has another use for.
const PORT: u16 = 9;
const SIGN: u16 = 19_999;

/// Starts `minato watch ARGUMENTS` and returns when it tells what happens: forwards of `host`, which it must concern, come and
/// go until it has told of one.
pub(crate) fn watch(user: &Account<'_>, host: &str, arguments: &[&str]) -> Program {
    let api = if user.is_root() { Api::ROOT } else { Api::USER };
    let watch = user.start(user.minato(&[&["watch"], arguments].concat()));
    let spec = ForwardSpec {
        address: Some([127, 0, 0, 1].into()),
        host_ports: (SIGN, SIGN),
        service_ports: (PORT, PORT),
        transport: Transport::Tcp,
    };
    let sign = ForwardRequest { host: host.to_owned(), forwards: vec![spec] };
    let sign = serde_json::to_string(&sign).expect("JSON");
    wait_until("the first event", SOON, || {
        assert_eq!(api.send("POST", "/v1/forwards", &sign), 200);
        assert_eq!(api.send("DELETE", "/v1/forwards", &sign), 200);
        !watch.stdout().is_empty()
    });
    watch
}
