//! Messages as MessagePack arrays (§MessagePack (`MsgPack`) encoding).
//!
//! Arrays may be longer than we know them, as later versions add fields at the end. The stream ids may be
//! left out, and some clients write nil for them.

use crate::error::{Field, ProtocolError};
use crate::message::{MAX_ARGUMENTS, MAX_ID_BYTES, Message, Outcome, kind, result_kind};
use crate::pack::{Reader, Token};
use crate::transcode;
use crate::value::Value;

/// Reads a message without its length; `None` if its type is unknown.
pub(crate) fn decode(message: &[u8]) -> Result<Option<Message>, ProtocolError> {
    let mut reader = Reader::new(message);
    let Ok(Token::Array(left)) = reader.token() else {
        return Err(ProtocolError::NotArray);
    };
    let mut fields = Fields { reader, left };
    let kind = match fields.token(Field::Type).map_err(|_| ProtocolError::NotArray)? {
        Token::Unsigned(kind) => kind,
        Token::Signed(_) => return Ok(None),
        _ => return Err(ProtocolError::Wrong(Field::Type)),
    };
    let message = match kind {
        kind::INVOCATION => {
            fields.headers()?;
            Message::Invocation {
                id: fields.optional_id()?,
                target: fields.string(Field::Target)?.into(),
                arguments: fields.arguments()?,
                streams: fields.streams()?,
            }
        }
        kind::STREAM_INVOCATION => {
            fields.headers()?;
            Message::StreamInvocation {
                id: fields.id()?,
                target: fields.string(Field::Target)?.into(),
                arguments: fields.arguments()?,
                streams: fields.streams()?,
            }
        }
        kind::STREAM_ITEM => {
            fields.headers()?;
            Message::StreamItem { id: fields.id()?, item: fields.value(Field::Item)? }
        }
        kind::COMPLETION => {
            fields.headers()?;
            Message::Completion { id: fields.id()?, result: fields.outcome()? }
        }
        kind::CANCEL_INVOCATION => {
            fields.headers()?;
            Message::CancelInvocation { id: fields.id()? }
        }
        kind::PING => Message::Ping,
        kind::CLOSE => Message::Close {
            error: fields.optional_string(Field::Error)?.map(str::to_owned),
            allow_reconnect: fields.allow_reconnect()?,
        },
        kind::ACK => Message::Ack { sequence: fields.unsigned(Field::SequenceId)? },
        kind::SEQUENCE => Message::Sequence { sequence: fields.unsigned(Field::SequenceId)? },
        _ => return Ok(None),
    };
    fields.finish()?;
    Ok(Some(message))
}

/// The items of a message's array that are not read yet.
struct Fields<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    fn token(&mut self, field: Field) -> Result<Token<'a>, ProtocolError> {
        self.left = self.left.checked_sub(1).ok_or(ProtocolError::Missing(field))?;
        Ok(self.reader.token()?)
    }

    fn headers(&mut self) -> Result<(), ProtocolError> {
        let Token::Map(count) = self.token(Field::Headers)? else {
            return Err(ProtocolError::Wrong(Field::Headers));
        };
        for _ in 0..2 * count {
            if !matches!(self.reader.token()?, Token::Str(_)) {
                return Err(ProtocolError::Wrong(Field::Headers));
            }
        }
        Ok(())
    }

    fn optional_string(&mut self, field: Field) -> Result<Option<&'a str>, ProtocolError> {
        match self.token(field)? {
            Token::Nil => Ok(None),
            Token::Str(text) => Ok(Some(text)),
            _ => Err(ProtocolError::Wrong(field)),
        }
    }

    fn string(&mut self, field: Field) -> Result<&'a str, ProtocolError> {
        self.optional_string(field)?.ok_or(ProtocolError::Missing(field))
    }

    fn optional_id(&mut self) -> Result<Option<Box<str>>, ProtocolError> {
        let id = self.optional_string(Field::InvocationId)?;
        id.filter(|id| !id.is_empty()).map(|id| checked_id(id, Field::InvocationId)).transpose()
    }

    fn id(&mut self) -> Result<Box<str>, ProtocolError> {
        self.optional_id()?.ok_or(ProtocolError::Missing(Field::InvocationId))
    }

    fn unsigned(&mut self, field: Field) -> Result<u64, ProtocolError> {
        match self.token(field)? {
            Token::Unsigned(value) => Ok(value),
            _ => Err(ProtocolError::Wrong(field)),
        }
    }

    fn value(&mut self, field: Field) -> Result<Value, ProtocolError> {
        self.left = self.left.checked_sub(1).ok_or(ProtocolError::Missing(field))?;
        Ok(transcode::to_json(&mut self.reader)?)
    }

    fn arguments(&mut self) -> Result<Vec<Value>, ProtocolError> {
        let Token::Array(count) = self.token(Field::Arguments)? else {
            return Err(ProtocolError::Wrong(Field::Arguments));
        };
        if count > MAX_ARGUMENTS {
            return Err(ProtocolError::TooMuch(Field::Arguments));
        }
        (0..count).map(|_| transcode::to_json(&mut self.reader).map_err(ProtocolError::from)).collect()
    }

    fn streams(&mut self) -> Result<Vec<Box<str>>, ProtocolError> {
        if self.left == 0 {
            return Ok(Vec::new());
        }
        let count = match self.token(Field::StreamIds)? {
            Token::Nil => 0,
            Token::Array(count) => count,
            _ => return Err(ProtocolError::Wrong(Field::StreamIds)),
        };
        if count > MAX_ARGUMENTS {
            return Err(ProtocolError::TooMuch(Field::StreamIds));
        }
        (0..count)
            .map(|_| match self.reader.token()? {
                Token::Str(id) => checked_id(id, Field::StreamIds),
                _ => Err(ProtocolError::Wrong(Field::StreamIds)),
            })
            .collect()
    }

    fn outcome(&mut self) -> Result<Outcome, ProtocolError> {
        match self.unsigned(Field::ResultKind)? {
            result_kind::ERROR => Ok(Outcome::Error(self.string(Field::Error)?.to_owned())),
            result_kind::VOID => Ok(Outcome::Void),
            result_kind::VALUE => Ok(Outcome::Value(self.value(Field::Result)?)),
            _ => Err(ProtocolError::Wrong(Field::ResultKind)),
        }
    }

    fn allow_reconnect(&mut self) -> Result<bool, ProtocolError> {
        if self.left == 0 {
            return Ok(false);
        }
        match self.token(Field::AllowReconnect)? {
            Token::Nil => Ok(false),
            Token::Bool(value) => Ok(value),
            _ => Err(ProtocolError::Wrong(Field::AllowReconnect)),
        }
    }

    /// Reads over what a later version added.
    fn finish(mut self) -> Result<(), ProtocolError> {
        for _ in 0..self.left {
            self.reader.skip()?;
        }
        if self.reader.is_empty() { Ok(()) } else { Err(ProtocolError::Trailing) }
    }
}

fn checked_id(id: &str, field: Field) -> Result<Box<str>, ProtocolError> {
    if id.len() > MAX_ID_BYTES { Err(ProtocolError::TooMuch(field)) } else { Ok(id.into()) }
}
