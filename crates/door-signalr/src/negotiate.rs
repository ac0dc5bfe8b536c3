//! The first request: what the server can do, and a connection to do it with.

use std::fmt::Write as _;

use dovetail_api::encode;

use crate::registry::Token;

/// The newest version of negotiation.
const NEWEST: u32 = 1;
/// The transports, and what each carries.
const TRANSPORTS: &str = "[{\"transport\":\"WebSockets\",\"transferFormats\":[\"Text\",\"Binary\"]},\
                          {\"transport\":\"ServerSentEvents\",\"transferFormats\":[\"Text\"]},\
                          {\"transport\":\"LongPolling\",\"transferFormats\":[\"Text\",\"Binary\"]}]";

/// What a client wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    version: u32,
    /// To go on with another WebSocket when one is lost.
    pub(crate) resends: bool,
}

/// The value of a member of a query, its name compared without case.
pub(crate) fn member<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// Reads what a client wants.
///
/// # Errors
/// The text for the client.
pub(crate) fn wanted(query: Option<&str>) -> Result<Wanted, &'static str> {
    let version = match member(query, "negotiateVersion") {
        None => 0,
        Some(text) => text.parse::<u32>().map_err(|_| "negotiateVersion is not a number")?,
    };
    let resends = member(query, "useStatefulReconnect").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    Ok(Wanted { version: version.min(NEWEST), resends })
}

/// The answer: `token` is for the client alone, `id` is what others may know it by.
pub(crate) fn answer(wanted: Wanted, token: Token, id: Token) -> String {
    let mut text = format!("{{\"negotiateVersion\":{}", wanted.version);
    // Clients of version 0 use the id as the token.
    let _ = match wanted.version {
        0 => write!(text, ",\"connectionId\":\"{token}\""),
        _ => write!(text, ",\"connectionId\":\"{id}\",\"connectionToken\":\"{token}\""),
    };
    if wanted.resends {
        text.push_str(",\"useStatefulReconnect\":true");
    }
    text.push_str(",\"availableTransports\":");
    text.push_str(TRANSPORTS);
    text.push('}');
    text
}

/// The answer that there is no connection, and why.
pub(crate) fn refusal(error: &str) -> Vec<u8> {
    let mut text = b"{\"error\":".to_vec();
    encode::string(&mut text, error);
    text.push(b'}');
    text
}
