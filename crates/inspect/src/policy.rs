use serde::{Deserialize, Serialize};

/// What a host may reach beyond its network. A destination that a rule of `deny` names is refused; else one that a rule of
/// `allow` names is reached; else `default` decides.
///
/// A rule is `dns`, or `NAME|ADDRESS[/PREFIX][:PORTS][/tcp|/udp]`: `example.com`, `*.example.com:443`, `10.0.0.0/8:5432`,
/// `[2001:db8::]/32:443`, `192.0.2.1:1-1024/udp`. Names are only for `allow`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What no rule names.
    #[serde(default)]
    pub default: PolicyDefault,
    /// What may be reached although the default is to deny.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Addresses that may not be reached, whatever else is allowed.
    #[serde(default)]
    pub deny: Vec<String>,
}

/// What happens to a destination that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyDefault {
    /// It can be reached.
    #[default]
    Open,
    /// It is refused.
    Deny,
}
