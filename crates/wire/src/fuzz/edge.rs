//! Fuzz body of what an edge and its core say to each other.

use crate::edge::{BATCH_MAX, Batch, Builder, Marks, RECORDS_MAX, STREAMS_MAX};

/// Reads `data` as a batch and as marks; what is read is within the bounds and writes back as it was.
pub fn edge(data: &[u8]) {
    if let Ok(batch) = Batch::parse(data) {
        assert!(data.len() <= BATCH_MAX && batch.records.len() <= RECORDS_MAX);
        assert!(batch.streams.len() <= STREAMS_MAX && batch.first <= batch.end);
        let mut again = Builder::new(batch.origin, batch.first);
        for run in &batch.streams {
            assert!(again.stream(run.agent, run.stream), "what was read has room");
        }
        for record in &batch.records {
            let run = batch.streams.get(record.run).map(|run| run.stream).unwrap_or_default();
            assert!(again.push(record.kind, &run, record.seq, record.content), "what was read has room");
        }
        assert_eq!(again.len(), data.len());
        assert!(again.finish(batch.end) == data, "read and written, it is the same");
    }
    if let Ok(marks) = Marks::parse(data) {
        assert_eq!(marks.to_bytes().as_deref(), Some(data), "read and written, it is the same");
    }
}
