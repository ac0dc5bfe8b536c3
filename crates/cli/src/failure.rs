//! What went wrong, in words for people and a code for scripts.

use std::error::Error as _;
use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use dovetail_client::{AddressError, Error, ProblemType};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const ADVICE: Style = AnsiColor::Cyan.on_default();

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// The command line contradicts itself.
    Usage(&'static str),
    /// The address of the server is none.
    Address(AddressError),
    /// Standard input cannot be read.
    Input(std::io::Error),
    /// Standard output cannot be written.
    Output(std::io::Error),
    /// There is no such resource.
    NotFound(Box<str>),
    /// The server could not be asked, or refused.
    Server(Box<Error>),
}

impl Failure {
    pub(crate) fn of(error: Error) -> Self {
        Self::Server(Box::new(error))
    }

    /// The code that tells a script what to make of it.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    /// Says what went wrong, where, and what can be done.
    pub fn explain(&self, out: &mut impl Write) {
        if self.is_reader_gone() {
            return;
        }
        let advice = self.advice();
        // Nobody is there to be told that nothing can be said.
        let _ = writeln!(out, "{ERROR}error:{ERROR:#} {}", self.text());
        if let Some(advice) = advice {
            let _ = writeln!(out, "{ADVICE}help:{ADVICE:#} {advice}");
        }
    }

    fn number(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Address(_) => 2,
            Self::Output(_) if self.is_reader_gone() => 0,
            Self::Input(_) | Self::Output(_) => 1,
            Self::NotFound(_) => 3,
            Self::Server(error) => match &**error {
                Error::Unreachable { .. } | Error::Lost { .. } | Error::Silent { .. } => 5,
                Error::NoPath(_) | Error::Unsendable(_) | Error::UnsendablePacket(_) => 2,
                Error::Refused { code, .. } if matches!(code.code(), 0x86 | 0x87 | 0x8C) => 6,
                Error::Problem(problem) => match problem.kind {
                    ProblemType::NotFound => 3,
                    ProblemType::PreconditionFailed
                    | ProblemType::Conflict
                    | ProblemType::IdempotencyKeyReused => 4,
                    ProblemType::Unauthenticated | ProblemType::Forbidden | ProblemType::ReservedName => 6,
                    ProblemType::PositionGone => 7,
                    _ => 1,
                },
                _ => 1,
            },
        }
    }

    /// Whoever read the output has read enough, as `head` does.
    fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    fn text(&self) -> String {
        match self {
            Self::Usage(text) => (*text).to_owned(),
            Self::Address(error) => error.to_string(),
            Self::Input(error) => format!("standard input cannot be read: {error}"),
            Self::Output(error) => format!("standard output cannot be written: {error}"),
            Self::NotFound(name) => format!("there is no resource `{name}`"),
            Self::Server(error) => with_causes(error),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Address(_) => Some("give the server as http://HOST:PORT with --server".to_owned()),
            Self::NotFound(name) => Some(format!("`dovetail ls {name}` lists what is below that name")),
            Self::Server(error) => advice(error),
            Self::Usage(_) | Self::Input(_) | Self::Output(_) => None,
        }
    }
}

fn advice(error: &Error) -> Option<String> {
    Some(match error {
        Error::Unreachable { .. } => {
            "is the server running? `dovetail serve` starts one; --server says where it is".to_owned()
        }
        Error::Lost { .. } | Error::Silent { .. } => {
            "a write may have happened or not: repeat it with the --idempotency-key that it had, or read first"
                .to_owned()
        }
        Error::Refused { code, .. } if matches!(code.code(), 0x86 | 0x87) => {
            "--token or --user says who asks".to_owned()
        }
        Error::Problem(problem) => match (problem.kind, problem.current) {
            (ProblemType::PreconditionFailed, Some(current)) => {
                format!("the resource was last changed at {current}; read it again before you write")
            }
            (ProblemType::PreconditionFailed, None) => "there is no such resource now".to_owned(),
            (ProblemType::Unauthenticated, _) => "--token or --user says who asks".to_owned(),
            (ProblemType::PositionGone, _) => "leave --since out to start with the current state".to_owned(),
            (ProblemType::Overloaded | ProblemType::TooManyRequests, _) => "try again later".to_owned(),
            _ => return None,
        },
        Error::Status { .. } => "does --server name a Dovetail server, or a proxy that cannot reach one?".to_owned(),
        _ => return None,
    })
}

/// The error and what caused it, from the outside in.
pub(crate) fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use dovetail_client::Problem;
    use dovetail_model::Epoch;

    use super::*;

    fn problem(kind: ProblemType) -> Failure {
        let current = Some(Epoch::from_random(7).at(3));
        Failure::of(Error::Problem(Box::new(Problem { current, ..Problem::new(kind, "the detail") })))
    }

    #[test]
    fn every_failure_has_the_code_that_is_documented() {
        let refused = std::io::ErrorKind::ConnectionRefused.into();
        let table = [
            (Failure::Usage("x"), 2),
            (Failure::Address(AddressError::Host("".into())), 2),
            (Failure::NotFound("a".into()), 3),
            (Failure::Output(std::io::ErrorKind::BrokenPipe.into()), 0),
            (Failure::Output(std::io::ErrorKind::StorageFull.into()), 1),
            (Failure::of(Error::Unreachable { address: "h:1".into(), source: refused }), 5),
            (Failure::of(Error::Lost { address: "h:1".into(), source: None }), 5),
            (Failure::of(Error::NoPath("a/".into())), 2),
            (problem(ProblemType::NotFound), 3),
            (problem(ProblemType::PreconditionFailed), 4),
            (problem(ProblemType::Forbidden), 6),
            (problem(ProblemType::PositionGone), 7),
            (problem(ProblemType::Internal), 1),
        ];
        for (failure, code) in table {
            assert_eq!(failure.number(), code, "{failure:?}");
        }
    }

    #[test]
    fn explanations_say_what_where_and_what_to_do() {
        let explained = |failure: &Failure| {
            let mut out = Vec::new();
            failure.explain(&mut anstream::StripStream::new(&mut out));
            String::from_utf8(out).unwrap()
        };
        let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let unreachable = Failure::of(Error::Unreachable { address: "127.0.0.1:8080".into(), source });
        let text = explained(&unreachable);
        assert!(
            text.starts_with("error: no connection to 127.0.0.1:8080: connection refused\nhelp: "),
            "{text}"
        );
        let text = explained(&problem(ProblemType::PreconditionFailed));
        assert!(text.contains("the detail") && text.contains("last changed at 00000007.3"), "{text}");
        assert_eq!(explained(&Failure::Output(std::io::ErrorKind::BrokenPipe.into())), "");
    }
}
