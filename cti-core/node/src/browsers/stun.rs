//! Whose a STUN request is, before anyone looks closer at it.

/// The fixed header (RFC 8489 5).
const HEADER_LEN: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
/// USERNAME (RFC 8489 14.3).
const USERNAME: u16 = 0x0006;

/// Our half of the user name of a binding request, which ICE writes `OURS:THEIRS` (RFC 8445 7.2.2). Nothing is verified by
/// this: it only finds the browser that will.
pub fn local_ufrag(datagram: &[u8]) -> Option<&str> {
    let (header, mut rest) = datagram.split_at_checked(HEADER_LEN)?;
    if header[..2] != BINDING_REQUEST || header[4..8] != MAGIC_COOKIE {
        return None;
    }
    loop {
        let [k0, k1, l0, l1] = *rest.first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let value = rest.get(4..4 + len)?;
        if u16::from_be_bytes([k0, k1]) == USERNAME {
            return std::str::from_utf8(value).ok()?.split_once(':').map(|(ours, _)| ours);
        }
        // Values are padded to four bytes (RFC 8489 14).
        rest = rest.get(4 + len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend([7; 12]);
        for (kind, value) in attributes {
            bytes.extend(kind.to_be_bytes());
            bytes.extend((value.len() as u16).to_be_bytes());
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn a_request_tells_whose_it_is() {
        let check = |bytes: &[u8], expect: Option<&str>| assert_eq!(local_ufrag(bytes), expect, "{bytes:02x?}");
        check(&request(&[(USERNAME, b"ours:theirs")]), Some("ours"));
        check(&request(&[(0x8022, b"abc"), (USERNAME, b"o:t")]), Some("o"));
        check(&request(&[(USERNAME, b"no colon")]), None);
        check(&request(&[(0x0024, &[1, 2, 3, 4])]), None);
        check(&request(&[(USERNAME, b"\xff:x")]), None);
        let mut cut = request(&[(USERNAME, b"ours:theirs")]);
        cut.truncate(cut.len() - 6);
        check(&cut, None);
        let mut response = request(&[(USERNAME, b"ours:theirs")]);
        response[0] = 1;
        check(&response, None);
        check(&[0x80; 40], None);
        check(&[], None);
    }
}
