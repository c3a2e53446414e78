//! What an endpoint has to answer for a delivery to count as taken.

const STATUSES_MAX: usize = 20;
const TEXT_BYTES_MAX: usize = 200;
/// The text is looked for in so many bytes of the answer.
const SEARCHED_BYTES: usize = 16 << 10;

/// A rule of a form's. The default is any status from 200 to 299.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptanceRule {
    statuses: Vec<u16>,
    text: Option<String>,
}

/// Why a rule is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptanceRuleError {
    #[error("{0} statuses to be taken by; at most {STATUSES_MAX}")]
    Statuses(usize),
    #[error("the status {0} to be taken by; from 200 to 599")]
    Status(u16),
    #[error("a text to be taken by of {0} bytes; at most {TEXT_BYTES_MAX}")]
    Text(usize),
}

/// Why an answer is not what was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    #[error("status {0}: redirects are not followed")]
    Redirect(u16),
    #[error("status {0}")]
    Status(u16),
    #[error("status {0}, without the text that the form wants in the answer")]
    Text(u16),
}

impl AcceptanceRule {
    /// One of these statuses, or any of success if there are none, and this text in the answer, if there is one.
    ///
    /// # Errors
    /// For more than 20 statuses, one that is not from 200 to 599, and a text of more than 200 bytes.
    pub fn new(statuses: Vec<u16>, text: Option<String>) -> Result<Self, AcceptanceRuleError> {
        if statuses.len() > STATUSES_MAX {
            return Err(AcceptanceRuleError::Statuses(statuses.len()));
        }
        if let Some(odd) = statuses.iter().find(|status| !(200..600).contains(*status)) {
            return Err(AcceptanceRuleError::Status(*odd));
        }
        match &text {
            Some(text) if text.len() > TEXT_BYTES_MAX => Err(AcceptanceRuleError::Text(text.len())),
            _ => Ok(Self { statuses, text }),
        }
    }

    /// Whether an answer is what it wants.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn judge(&self, status: u16, body: &[u8]) -> Result<(), NotTaken> {
        let wanted = match self.statuses.as_slice() {
            [] => (200..300).contains(&status),
            statuses => statuses.contains(&status),
        };
        if !wanted {
            let redirects = (300..400).contains(&status);
            return Err(if redirects { NotTaken::Redirect(status) } else { NotTaken::Status(status) });
        }
        let searched = body.get(..SEARCHED_BYTES).unwrap_or(body);
        let has_text = self.text.as_ref().is_none_or(|text| String::from_utf8_lossy(searched).contains(text));
        if has_text { Ok(()) } else { Err(NotTaken::Text(status)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(statuses: &[u16], text: Option<&str>) -> AcceptanceRule {
        AcceptanceRule::new(statuses.to_vec(), text.map(str::to_owned)).unwrap()
    }

    #[test]
    fn any_success_is_taken_if_nothing_else_is_wanted() {
        let any = AcceptanceRule::default();
        for status in [200, 204, 299] {
            assert_eq!(any.judge(status, b"whatever"), Ok(()));
        }
        assert_eq!(any.judge(302, b""), Err(NotTaken::Redirect(302)));
        assert_eq!(any.judge(410, b""), Err(NotTaken::Status(410)));
    }

    #[test]
    fn a_form_wants_a_status_and_a_text() {
        let ok = rule(&[], Some("*ok*"));
        assert_eq!(ok.judge(200, b"well, *ok* then"), Ok(()));
        assert_eq!(ok.judge(200, b"ok"), Err(NotTaken::Text(200)));
        assert_eq!(ok.judge(500, b"*ok*"), Err(NotTaken::Status(500)));
        let mut late = vec![b' '; SEARCHED_BYTES - 3];
        late.extend_from_slice(b"*ok*");
        assert_eq!(ok.judge(200, &late), Err(NotTaken::Text(200)));
        assert_eq!(rule(&[302, 409], None).judge(302, b""), Ok(()));
        assert_eq!(rule(&[302, 409], None).judge(200, b""), Err(NotTaken::Status(200)));
        assert_eq!(rule(&[], Some("")).judge(200, b""), Ok(()));
    }

    #[test]
    fn rules_have_limits() {
        assert!(AcceptanceRule::new((200..220).collect(), Some("x".repeat(200))).is_ok());
        assert_eq!(AcceptanceRule::new((200..221).collect(), None), Err(AcceptanceRuleError::Statuses(21)));
        for odd in [0, 199, 600] {
            assert_eq!(AcceptanceRule::new(vec![200, odd], None), Err(AcceptanceRuleError::Status(odd)));
        }
        assert_eq!(AcceptanceRule::new(vec![], Some("x".repeat(201))), Err(AcceptanceRuleError::Text(201)));
    }
}
