//! Reason codes of MQTT 5 (§2.4), which this crate also uses inside for older versions.

use crate::kind::Kind;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// A reason code of MQTT 5 (§2.4). 0x00 is *success*, *normal disconnection* and *granted `QoS` 0*.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $code,)*
        }

        impl ReasonCode {
            /// Every reason code, in numeric order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code with this number, if there is one.
            pub fn from_u8(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

reason_codes! {
    /// Success, normal disconnection, granted `QoS` 0.
    Success = 0x00,
    /// Granted `QoS` 1.
    GrantedQos1 = 0x01,
    /// Granted `QoS` 2.
    GrantedQos2 = 0x02,
    /// The client disconnects and wants its will published.
    DisconnectWithWill = 0x04,
    /// Nobody subscribes to the topic.
    NoMatchingSubscribers = 0x10,
    /// The filter was not subscribed.
    NoSubscriptionExisted = 0x11,
    /// The authentication goes on.
    ContinueAuthentication = 0x18,
    /// A new authentication begins.
    ReAuthenticate = 0x19,
    /// The sender does not say why.
    UnspecifiedError = 0x80,
    /// The packet cannot be read.
    MalformedPacket = 0x81,
    /// The packet does not belong here.
    ProtocolError = 0x82,
    /// Valid, but not processed by this implementation.
    ImplementationSpecificError = 0x83,
    /// The protocol version is not spoken.
    UnsupportedProtocolVersion = 0x84,
    /// The client id is not allowed.
    ClientIdentifierNotValid = 0x85,
    /// User name or password is wrong.
    BadUserNameOrPassword = 0x86,
    /// Not allowed to this client.
    NotAuthorized = 0x87,
    /// The server cannot serve.
    ServerUnavailable = 0x88,
    /// Try again later.
    ServerBusy = 0x89,
    /// This client is banned.
    Banned = 0x8A,
    /// The server stops.
    ServerShuttingDown = 0x8B,
    /// The authentication method is not supported.
    BadAuthenticationMethod = 0x8C,
    /// Nothing came for 1.5 times the keep-alive.
    KeepAliveTimeout = 0x8D,
    /// Another connection uses the client id now.
    SessionTakenOver = 0x8E,
    /// The filter is not accepted.
    TopicFilterInvalid = 0x8F,
    /// The topic is not accepted.
    TopicNameInvalid = 0x90,
    /// The packet id is in use.
    PacketIdentifierInUse = 0x91,
    /// The packet id is not known.
    PacketIdentifierNotFound = 0x92,
    /// More unacknowledged messages than allowed.
    ReceiveMaximumExceeded = 0x93,
    /// The topic alias is zero or too large.
    TopicAliasInvalid = 0x94,
    /// The packet is larger than allowed.
    PacketTooLarge = 0x95,
    /// Too many messages.
    MessageRateTooHigh = 0x96,
    /// A limit was reached.
    QuotaExceeded = 0x97,
    /// An administrator decided.
    AdministrativeAction = 0x98,
    /// The payload is not what its format says.
    PayloadFormatInvalid = 0x99,
    /// Retained messages are not supported.
    RetainNotSupported = 0x9A,
    /// The `QoS` is not supported.
    QosNotSupported = 0x9B,
    /// Use another server for now.
    UseAnotherServer = 0x9C,
    /// Use another server from now on.
    ServerMoved = 0x9D,
    /// Shared subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Too many connections in a time.
    ConnectionRateExceeded = 0x9F,
    /// The connection lasted as long as it may.
    MaximumConnectTime = 0xA0,
    /// Subscription identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// Wildcards are not supported.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// The number on the wire.
    #[inline]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether it is an error (0x80 and above).
    #[inline]
    pub fn is_error(self) -> bool {
        self.code() >= 0x80
    }

    /// Whether the specification lists this code for the packet (table 2-6), in either direction.
    pub fn fits(self, kind: Kind) -> bool {
        let code = self.code();
        match kind {
            Kind::ConnAck => {
                matches!(code, 0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F)
            }
            Kind::PubAck | Kind::PubRec => {
                matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            Kind::PubRel | Kind::PubComp => matches!(code, 0x00 | 0x92),
            Kind::SubAck => {
                matches!(code, 0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2)
            }
            Kind::UnsubAck => matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91),
            Kind::Disconnect => {
                matches!(code, 0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B..=0x90 | 0x93..=0xA2)
            }
            Kind::Auth => matches!(code, 0x00 | 0x18 | 0x19),
            Kind::Connect
            | Kind::Publish
            | Kind::Subscribe
            | Kind::Unsubscribe
            | Kind::PingReq
            | Kind::PingResp => false,
        }
    }

    /// The CONNACK return code of MQTT 3 (3.1.1 §3.2.2.3) that comes nearest.
    pub fn to_v3_connect_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => 4,
            Self::NotAuthorized | Self::Banned => 5,
            _ => 3,
        }
    }

    /// The reason that a CONNACK return code of MQTT 3 stands for; codes from 6 on are reserved.
    pub fn from_v3_connect_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?} (0x{:02X})", self.code())
    }
}
