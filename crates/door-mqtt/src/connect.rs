//! CONNECT: who may connect as whom, and what is granted.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use dovetail_auth::Principal;
use dovetail_model::limits::CLIENT_ID_BYTES;
use dovetail_mqtt_proto::{Accept, Connect, Connection, ReasonCode, Text, Version};

use crate::Local;
use crate::answer::Refusal;
use crate::counters::count;
use crate::open::{Opened, Wanted, is_plain, open};
use crate::registry::{Claim, Name};
use crate::serving::Serving;
use crate::terms::Terms;
use crate::will;

/// A CONNECT that is good, and waits for its client id.
pub(crate) struct Claiming {
    pub(crate) claim: Claim,
    asked: Asked,
    wanted: Wanted,
}

/// A CONNECT whose client id is held, and whose session is read and stored.
pub(crate) struct Opening {
    claim: Claim,
    asked: Asked,
    /// `None` for a clean session without a will, for which nothing is read or stored.
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = Result<Opened, Refusal>>>>;

/// What CONNACK answers.
struct Asked {
    version: Version,
    /// The id that was made for a client without one.
    assigned: Option<Text>,
    /// The session expiry in seconds that holds, where it is not what the client asked for.
    lowered: Option<u32>,
    terms: Terms,
}

impl Claiming {
    /// Decides about a CONNECT.
    ///
    /// # Errors
    /// Why it is refused, with a code that CONNACK has.
    pub(crate) fn new(local: &Local, principal: &Principal, connect: Connect) -> Result<Self, Refusal> {
        let asked_expiry = connect.session_expiry();
        let Connect { version, clean_start, keep_alive, properties, client_id, will, .. } = connect;
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
        let expiry = asked_expiry.min(local.shared.options.session_expiry_seconds());
        let lowered = (expiry != asked_expiry).then_some(expiry);
        let known_as = assigned.as_ref().unwrap_or(&client_id).as_str();
        let terms = Terms::of(&local.shared.options, keep_alive, &properties, known_as);
        let wanted = Wanted { version, clean_start, expiry, will };
        Ok(Self { claim, asked: Asked { version, assigned, lowered, terms }, wanted })
    }

    /// The client id is free: looks for its session.
    pub(crate) fn open(self, local: &Rc<Local>, principal: &Principal) -> Opening {
        let Self { claim, asked, wanted } = self;
        let reading: Option<Reading> = if is_plain(local, claim.name(), &wanted) {
            None
        } else {
            let (local, principal, name) = (Rc::clone(local), principal.clone(), claim.name().clone());
            Some(Box::pin(open(local, principal, name, wanted)))
        };
        Opening { claim, asked, reading }
    }
}

impl Opening {
    /// What the session came to.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Opened, Refusal>> {
        match &mut self.reading {
            Some(reading) => reading.as_mut().poll(cx),
            None => Poll::Ready(Ok(Opened::default())),
        }
    }

    /// Answers, and makes what the connection needs from now on.
    pub(crate) fn accept(
        self,
        opened: Opened,
        local: &Rc<Local>,
        principal: &Principal,
        connection: &mut Connection,
        now: Instant,
    ) -> Serving {
        let Asked { version, assigned, lowered, terms } = self.asked;
        let Opened { session, is_present, text, kept, will, subscriptions } = opened;
        let accept = Accept {
            shared_subscriptions: true,
            session,
            session_present: is_present,
            assigned_client_id: assigned,
            session_expiry: lowered,
            text,
            tell_steps: kept.is_some(),
            server_keep_alive: terms.keep_alive,
            response_information: terms.response_information,
        };
        connection.accept(accept, now);
        count(&local.shared.counters.accepted);
        let mut serving = Serving::new(self.claim, version, (kept, will), local, principal);
        serving.resume(connection, subscriptions, now);
        serving
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
