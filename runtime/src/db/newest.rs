//! The newest rows over all words of a column, by an index in which that column comes before the id.

/// A subselect of the newest ids of each word. The first text ends before the word; the second follows it and ends in
/// `ORDER BY … LIMIT …`.
macro_rules! newest_of_each {
    ($before:expr, $after:expr, [$first:literal $(, $word:literal)*]) => {
        concat!(
            "(SELECT id FROM (", $before, "'", $first, "' ", $after, ") AS one",
            $(" UNION ALL SELECT id FROM (", $before, "'", $word, "' ", $after, ") AS one",)*
            ")"
        )
    };
}
pub(super) use newest_of_each;
