//! `zongji phone`: a scriptable SIP phone.
