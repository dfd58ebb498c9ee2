//! A cursor over a whole message: every read is bounded, and a finished vector has nothing left over.

/// The bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let (&first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(first))
    }

    fn take(&mut self, len: usize) -> Option<Self> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(Self(taken))
    }

    /// The inside of a vector whose length is one byte.
    pub(super) fn vec8(&mut self) -> Option<Self> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// The inside of a vector whose length is two bytes.
    pub(super) fn vec16(&mut self) -> Option<Self> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// The inside of a two-byte vector that must be all there is.
    pub(super) fn only_vec16(mut self) -> Option<Self> {
        let inside = self.vec16()?;
        self.is_empty().then_some(inside)
    }

    /// The inside of a one-byte vector that must be all there is.
    pub(super) fn only_vec8(mut self) -> Option<Self> {
        let inside = self.vec8()?;
        self.is_empty().then_some(inside)
    }
}
