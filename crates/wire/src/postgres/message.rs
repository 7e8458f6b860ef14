//! Fields of single messages, read from their payloads (what follows tag and length).
//!
//! Invariant: a payload that is shorter than it says gives `None`, never a guess; nothing is copied.

/// Takes fields off the front of a payload.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the start of `payload`.
    pub fn new(payload: &'a [u8]) -> Reader<'a> {
        Reader { rest: payload }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(front)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|b| u16::from_be_bytes(*b))
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|b| u32::from_be_bytes(*b))
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|b| u64::from_be_bytes(*b))
    }

    /// Bytes up to a zero byte, which is taken off too.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.rest)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }
}

/// Fields of a Parse.
#[derive(Clone, Copy, Debug)]
pub struct Parse<'a> {
    /// Statement name; empty = the unnamed one.
    pub name: &'a [u8],
    /// Statement text.
    pub text: &'a [u8],
    /// Type OIDs of the first parameters, four bytes each; 0 = the server chooses.
    pub types: &'a [u8],
}

/// Reads a Parse.
pub fn parse(payload: &[u8]) -> Option<Parse<'_>> {
    let mut reader = Reader::new(payload);
    let (name, text) = (reader.text()?, reader.text()?);
    let count = reader.u16()?;
    Some(Parse { name, text, types: reader.take(usize::from(count) * 4)? })
}

/// Fields of a Bind.
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    /// Portal name; empty = the unnamed one.
    pub portal: &'a [u8],
    /// Statement name.
    pub statement: &'a [u8],
    /// Format codes, two bytes each: none = all text, one = for all, else one each.
    pub formats: &'a [u8],
    /// Number of parameters.
    pub count: u16,
    /// Parameters: length (-1 = null) and bytes each, and what follows them.
    pub values: &'a [u8],
}

/// Reads a Bind up to its values.
pub fn bind(payload: &[u8]) -> Option<Bind<'_>> {
    let mut reader = Reader::new(payload);
    let (portal, statement) = (reader.text()?, reader.text()?);
    let formats = reader.u16()?;
    let formats = reader.take(usize::from(formats) * 2)?;
    let count = reader.u16()?;
    Some(Bind { portal, statement, formats, count, values: reader.rest() })
}

impl<'a> Bind<'a> {
    /// Format code of parameter `at`.
    pub fn format(&self, at: usize) -> u16 {
        let own = if self.formats.len() == 2 { 0 } else { at * 2 };
        let code = self.formats.get(own..).and_then(<[u8]>::first_chunk);
        code.map_or(0, |b| u16::from_be_bytes(*b))
    }

    /// The parameters in order, each with its length, bytes; `None` inside = null. Ends early where the payload
    /// does: of the last one, only the front may be there.
    pub fn parameters(&self) -> impl Iterator<Item = Option<(&'a [u8], u32)>> + use<'a> {
        let mut reader = Reader::new(self.values);
        (0..self.count).map_while(move |_| match reader.u32()? {
            u32::MAX => Some(None),
            len => Some(Some((reader.take((len as usize).min(reader.rest().len()))?, len))),
        })
    }
}

/// Portal and row limit of an Execute; 0 = no limit.
pub fn execute(payload: &[u8]) -> Option<(&[u8], u32)> {
    let mut reader = Reader::new(payload);
    Some((reader.text()?, reader.u32()?))
}

/// What a Describe or Close is about: `S`tatement or `P`ortal, and its name.
pub fn subject(payload: &[u8]) -> Option<(u8, &[u8])> {
    let mut reader = Reader::new(payload);
    Some((reader.u8()?, reader.text()?))
}

/// One column of a RowDescription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// Name.
    pub name: &'a [u8],
    /// OID of its table; 0 = none.
    pub table: u32,
    /// OID of its type.
    pub type_oid: u32,
}

/// Columns of a RowDescription. Ends early where the payload does.
pub fn columns(payload: &[u8]) -> impl Iterator<Item = Column<'_>> {
    let mut reader = Reader::new(payload);
    let count = reader.u16().unwrap_or(0);
    (0..count).map_while(move |_| {
        let (name, table) = (reader.text()?, reader.u32()?);
        let _number = reader.u16()?;
        let type_oid = reader.u32()?;
        let _size_modifier_format = reader.take(8)?;
        Some(Column { name, table, type_oid })
    })
}

/// Type OIDs of a ParameterDescription.
pub fn parameter_types(payload: &[u8]) -> impl Iterator<Item = u32> {
    let mut reader = Reader::new(payload);
    let count = reader.u16().unwrap_or(0);
    (0..count).map_while(move |_| reader.u32())
}

/// Fields of an ErrorResponse or NoticeResponse that somebody needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Severity, not localised where the server tells it so.
    pub severity: &'a [u8],
    /// SQLSTATE.
    pub state: &'a [u8],
    /// Message; may quote data.
    pub text: &'a [u8],
}

impl Failure<'_> {
    /// Whether the server ends the session with it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity, b"FATAL" | b"PANIC")
    }
}

/// Reads an ErrorResponse as far as it goes.
pub fn failure(payload: &[u8]) -> Failure<'_> {
    let mut reader = Reader::new(payload);
    let mut found = Failure::default();
    let mut certain = false;
    while let Some(code) = reader.u8().filter(|code| *code != 0) {
        let Some(value) = reader.text() else { break };
        match code {
            b'V' => (found.severity, certain) = (value, true),
            b'S' if !certain => found.severity = value,
            b'C' => found.state = value,
            b'M' => found.text = value,
            _ => {}
        }
    }
    found
}

/// Rows that a CommandComplete's tag tells: `INSERT 0 5`, `SELECT 3`, `COPY 7`. `None` for tags without.
pub fn tag_rows(tag: &[u8]) -> Option<u64> {
    let last = tag.rsplit(|b| *b == b' ').next()?;
    if last.len() == tag.len() || last.is_empty() || last.len() > 19 {
        return None;
    }
    last.iter().try_fold(0_u64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}
