//! What must not be kept: secrets and personal data, found and counted, never quoted.
