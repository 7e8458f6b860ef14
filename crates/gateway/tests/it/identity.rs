//! Certificates, tokens and keys on the wire become identities in the record.

