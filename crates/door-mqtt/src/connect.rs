//! CONNECT: who may connect as whom, and what is granted.

use std::rc::Rc;
use std::time::Instant;

use dovetail_auth::Principal;
use dovetail_model::limits::CLIENT_ID_BYTES;
use dovetail_mqtt_proto::{Accept, Connect, Connection, ReasonCode, Text, Version};

use crate::Local;
use crate::answer::Refusal;
use crate::counters::count;
use crate::registry::{Claim, Name};
use crate::serving::Serving;
use crate::will;

/// A CONNECT that is good, and waits for its client id.
pub(crate) struct Claiming {
    pub(crate) claim: Claim,
    pub(crate) version: Version,
    /// The id that was made for a client without one.
    assigned: Option<Text>,
    /// The client asked for a session that outlives the connection, which it does not get.
    wanted_session: bool,
}

impl Claiming {
    /// Decides about a CONNECT.
    ///
    /// # Errors
    /// Why it is refused, with a code that CONNACK has.
    pub(crate) fn new(local: &Local, principal: &Principal, connect: Connect) -> Result<Self, Refusal> {
        let Connect { version, properties, client_id, will, .. } = connect;
        if properties.authentication_method().is_some() {
            return Err(Refusal::new(ReasonCode::BadAuthenticationMethod, "no extended authentication"));
        }
        if client_id.len() > CLIENT_ID_BYTES {
            let text = format!("a client id has at most {CLIENT_ID_BYTES} bytes");
            return Err(Refusal::new(ReasonCode::ClientIdentifierNotValid, text));
        }
        if let Some(will) = &will {
            // It is asked again when the will is published; here so that the client learns of it.
            will::check(local, principal, will).map_err(|refusal| for_connack(&refusal))?;
        }
        let assigned = if client_id.is_empty() { Some(make_client_id()?) } else { None };
        let name = Name {
            principal: principal.name().into(),
            client_id: assigned.as_ref().unwrap_or(&client_id).as_str().into(),
        };
        let claim = Claim::new(&local.shared, name)
            .ok_or_else(|| Refusal::new(ReasonCode::ServerUnavailable, "the server is stopping"))?;
        let wanted_session = properties.session_expiry().is_some_and(|expiry| expiry > 0);
        Ok(Self { claim, version, assigned, wanted_session })
    }

    /// The client id is free: answers, and makes what the connection needs from now on.
    pub(crate) fn accept(
        mut self,
        local: &Rc<Local>,
        principal: &Principal,
        connection: &mut Connection,
        now: Instant,
    ) -> Serving {
        let accept = Accept {
            assigned_client_id: self.assigned.take(),
            // Sessions end with their connection, which is said to whoever asked for more.
            session_expiry: self.wanted_session.then_some(0),
            shared_subscriptions: true,
            ..Accept::default()
        };
        connection.accept(accept, now);
        count(&local.shared.counters.accepted);
        Serving::new(self.claim, self.version, local, principal)
    }
}

/// CONNACK has fewer codes than PUBACK.
fn for_connack(refusal: &Refusal) -> Refusal {
    let reason = match refusal.reason {
        ReasonCode::TopicNameInvalid
        | ReasonCode::NotAuthorized
        | ReasonCode::QuotaExceeded
        | ReasonCode::PayloadFormatInvalid
        | ReasonCode::ImplementationSpecificError => refusal.reason,
        _ => ReasonCode::UnspecifiedError,
    };
    Refusal::new(reason, format!("the will cannot be published: {}", refusal.text))
}

/// An id that nobody guesses, for a client without one `[MQTT-3.1.3-6]`.
fn make_client_id() -> Result<Text, Refusal> {
    let unavailable = |_| Refusal::new(ReasonCode::ServerUnavailable, "no random numbers");
    let bits = getrandom::u64().map_err(unavailable)?;
    Text::new(&format!("auto-{bits:016x}"))
        .map_err(|_| Refusal::new(ReasonCode::UnspecifiedError, "the made-up client id is no text"))
}
