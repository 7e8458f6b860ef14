//! How CloudTrail's files of an input are proven: from declared keys to types.

use super::{ConfigError, Reader, read_bounded};
use countersign_collect::files::TrailSettings;
use countersign_collect::files::glob::Pattern;
use countersign_collect::formats::cloudtrail::digest;

/// Largest list of public keys, bytes.
const KEYS_BYTES_MAX: u64 = 1 << 20;

impl Reader<'_> {
    /// Both or neither: patterns of digest files, and the keys that sign them. The keys are read here, so that `check`
    /// refuses what a start would.
    pub(super) fn trail(
        &self,
        at: &str,
        patterns: impl Fn(&str) -> Result<Vec<Pattern>, ConfigError>,
    ) -> Result<Option<TrailSettings>, ConfigError> {
        let path = format!("{at}.cloudtrail_keys");
        let digests = patterns("cloudtrail_digests")?;
        let Some(file) = self.path(&path) else {
            if digests.is_empty() {
                return Ok(None);
            }
            let what = "`cloudtrail_digests` proves nothing without `cloudtrail_keys`, the answer of \
                        `aws cloudtrail list-public-keys` in a file";
            return Err(self.settings.conflict(at, what));
        };
        if digests.is_empty() {
            let what = "`cloudtrail_keys` needs `cloudtrail_digests`, patterns of the digest files";
            return Err(self.settings.conflict(&path, what));
        }
        let refuse = |why: String| self.settings.conflict(&path, why);
        let text = read_bounded(&file, KEYS_BYTES_MAX).map_err(|error| refuse(error.to_string()))?;
        let keys = digest::keys(text.as_bytes()).map_err(|error| {
            refuse(format!("{} is no answer of `aws cloudtrail list-public-keys`: {error}", file.display()))
        })?;
        let wait = self.span(&format!("{at}.cloudtrail_wait"), 7_200_000);
        Ok(Some(TrailSettings { keys, digests, wait }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use crate::config::input::Protocol;

    #[test]
    fn digests_need_keys_and_keys_need_digests_and_both_are_read_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        let keys = format!("cloudtrail_keys={:?}\n", file.to_str().unwrap());
        let digests = "cloudtrail_digests=[\"/d/*.gz\"]\n";
        let input = "[[input]]\nname=\"a\"\nprotocol=\"file\"\npaths=[\"/a/*\"]\n";
        let refused = |text: String| config(&text).unwrap_err().to_string();
        assert!(refused(format!("{input}{digests}")).contains("list-public-keys"));
        assert!(refused(format!("{input}{keys}")).contains("cloudtrail_digests"));
        assert!(refused(format!("{input}{digests}{keys}")).contains("keys.json"), "there is no such file");
        for (text, why) in [("{}", "no answer of"), ("{\"PublicKeyList\":[]}", "no key in")] {
            std::fs::write(&file, text).unwrap();
            let found = refused(format!("{input}{digests}{keys}"));
            assert!(found.contains(why), "{found}");
        }
        std::fs::write(&file, r#"{"PublicKeyList":[{"Value":"AAEC","Fingerprint":"f"}]}"#).unwrap();
        let read = config(&format!("{input}{digests}{keys}cloudtrail_wait=\"1h\"\n")).unwrap();
        let Protocol::Files(files) = &read.inputs[0].protocol else { panic!("not files") };
        let trail = files.trail.as_ref().unwrap();
        assert_eq!((trail.keys.len(), trail.digests.len(), trail.wait.as_secs()), (1, 1, 3_600));
        let http = "[[input]]\nname=\"a\"\nlisten=\"127.0.0.1:1\"\n";
        assert!(refused(format!("{http}{digests}{keys}")).contains("protocol = \"file\""));
    }
}
