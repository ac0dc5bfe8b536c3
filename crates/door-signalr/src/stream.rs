//! Sockets that move between threads.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;

/// What a WebSocket lies on.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A stream that can leave the runtime of its thread for another's.
pub trait Portable: Stream + Sized + 'static {
    /// The stream without a runtime.
    type Packed: Send + 'static;

    /// Takes the stream out of the runtime of this thread.
    ///
    /// # Errors
    /// The operating system does not let it go.
    fn pack(self) -> io::Result<Self::Packed>;

    /// Takes the stream into the runtime of this thread.
    ///
    /// # Errors
    /// The runtime does not take it.
    fn unpack(packed: Self::Packed) -> io::Result<Self>;
}

impl Portable for TcpStream {
    type Packed = std::net::TcpStream;

    fn pack(self) -> io::Result<Self::Packed> {
        self.into_std()
    }

    fn unpack(packed: Self::Packed) -> io::Result<Self> {
        Self::from_std(packed)
    }
}

/// A pipe in memory, which belongs to no runtime.
impl Portable for DuplexStream {
    type Packed = Self;

    fn pack(self) -> io::Result<Self> {
        Ok(self)
    }

    fn unpack(packed: Self) -> io::Result<Self> {
        Ok(packed)
    }
}
