//! A plain client of the harness: one command at a time, over the server's own unix socket, so that
//! what a test verifies does not pass through what it tests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// No reply of a local server takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

impl Reply {
    pub(crate) fn int(&self) -> i64 {
        match self {
            Reply::Int(n) => *n,
            other => panic!("an integer was expected, not {other:?}"),
        }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Bulk(bytes) => bytes.as_deref(),
            other => panic!("a bulk string was expected, not {other:?}"),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Reply::Simple(text) | Reply::Error(text) => text.clone(),
            Reply::Bulk(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("text was expected, not {other:?}"),
        }
    }

    pub(crate) fn array(&self) -> &[Reply] {
        match self {
            Reply::Array(items) => items,
            other => panic!("an array was expected, not {other:?}"),
        }
    }

    /// The items of an array of strings, sorted.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut items: Vec<String> = self.array().iter().map(Reply::text).collect();
        items.sort_unstable();
        items
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// How long a reply may take from now on.
    pub(crate) fn patience(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(patience))
    }

    pub(crate) fn try_command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Reply> {
        self.send(arguments)?;
        self.receive()
    }

    /// Sends many commands at once and reads all replies.
    pub(crate) fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(commands.len());
        for chunk in commands.chunks(1000) {
            let mut wire = Vec::new();
            for command in chunk {
                encode(command, &mut wire);
            }
            self.stream.get_mut().write_all(&wire)?;
            for _ in chunk {
                replies.push(self.receive()?);
            }
        }
        Ok(replies)
    }

    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<()> {
        let mut wire = Vec::new();
        encode(arguments, &mut wire);
        self.stream.get_mut().write_all(&wire)
    }

    /// One line without its end, as MONITOR sends them.
    pub(crate) fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while line.last().is_some_and(|b| matches!(b, b'\r' | b'\n')) {
            line.pop();
        }
        Ok(line)
    }

    fn receive(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_first().ok_or(io::ErrorKind::InvalidData)?;
        let rest = String::from_utf8_lossy(rest).into_owned();
        let number = || {
            rest.parse::<i64>()
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
        };
        Ok(match kind {
            b'+' => Reply::Simple(rest),
            b'-' => Reply::Error(rest),
            b':' => Reply::Int(number()?),
            b'$' => match usize::try_from(number()?) {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Reply::Bulk(Some(bytes))
                }
                Err(_) => Reply::Bulk(None),
            },
            b'*' => Reply::Array(
                (0..number()?.max(0))
                    .map(|_| self.receive())
                    .collect::<io::Result<_>>()?,
            ),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

fn encode<A: AsRef<[u8]>>(arguments: &[A], wire: &mut Vec<u8>) {
    wire.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        let argument = argument.as_ref();
        wire.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        wire.extend_from_slice(argument);
        wire.extend_from_slice(b"\r\n");
    }
}
