use super::*;
use crate::boc::Boc;
use crate::tests::cells::{Cell, comment, internal_transfer, operation, snake};

const PAYER: Account = Account { workchain: 0, hash: [9; 32] };

fn read(cell: &Cell) -> Body {
    let bytes = cell.bag(0x40);
    let boc = Boc::parse(&bytes).unwrap();
    Body::read(Slice::root(&boc).unwrap())
}

fn credit(cell: &Cell) -> Option<InternalTransfer> {
    let bytes = cell.bag(0);
    let boc = Boc::parse(&bytes).unwrap();
    let mut slice = Slice::root(&boc).unwrap();
    assert_eq!(slice.op(), Some(INTERNAL_TRANSFER));
    InternalTransfer::read(slice)
}

fn text(text: &str) -> Memo {
    Memo::Text(text.into())
}

#[test]
fn comments_of_any_length_and_cut() {
    let long = "Order \u{1F4A5} 42 ".repeat(200);
    for chunk in [1, 7, 100, 123] {
        for comment in ["a", "order 42", &long[..2_000]] {
            let cell = snake(Cell::default().uint(0, 32), comment.as_bytes(), chunk);
            if comment.len() / chunk < 1_000 {
                assert_eq!(read(&cell), Body::Memo(text(comment)));
            }
        }
    }
    assert_eq!(read(&comment("")), Body::Memo(Memo::None));
    assert_eq!(read(&Cell::default()), Body::Memo(Memo::None));
    assert_eq!(read(&comment(&"x".repeat(COMMENT_MAX))), Body::Memo(text(&"x".repeat(COMMENT_MAX))));
}

#[test]
fn what_cannot_be_read_says_why() {
    let zero = || Cell::default().uint(0, 32);
    let mut library = Cell::default().uint(2, 8).bytes(&[5; 32]);
    library.is_exotic = true;
    for (cell, why) in [
        (operation(ENCRYPTED_COMMENT), "an encrypted comment"),
        (zero().bytes(&[0xff, 1, 2]), "a binary comment"),
        (zero().bytes(&[0xc3, 0x28]), "a comment that is not UTF-8"),
        (zero().uint(1, 3), "a comment that is not in whole bytes"),
        (comment(&"x".repeat(COMMENT_MAX + 1)), "a comment of over 4096 bytes"),
        (comment("a").reference(comment("b")).reference(comment("c")), "a comment that branches"),
        (comment("a").reference(library), "a comment in an exotic cell"),
        (Cell::default().uint(1, 31), "a body too short for an operation"),
        (Cell::default().reference(comment("a")), "a body too short for an operation"),
    ] {
        assert_eq!(read(&cell), Body::Memo(unreadable(why)));
    }
    assert_eq!(read(&operation(EXCESSES)), Body::Operation(EXCESSES));
}

#[test]
fn payloads_in_place_and_by_reference() {
    for by_ref in [false, true] {
        for (payload, memo) in [
            (comment("order 42"), text("order 42")),
            (snake(Cell::default().uint(0, 32), "in several cells".as_bytes(), 5), text("in several cells")),
            (Cell::default(), Memo::None),
            (operation(0xdead_beef), unreadable_op(0xdead_beef)),
            (operation(ENCRYPTED_COMMENT), unreadable("an encrypted comment")),
            (Cell::default().uint(1, 5), unreadable("a body too short for an operation")),
        ] {
            let body = internal_transfer(17_000_000, Some(&PAYER), &payload, by_ref);
            let expected = InternalTransfer { amount: 17_000_000, from: Some(PAYER), memo };
            assert_eq!(credit(&body), Some(expected), "{by_ref}");
        }
    }
}

#[test]
fn malformed_payloads_keep_the_amount() {
    let until = |forward: bool| {
        let body = operation(INTERNAL_TRANSFER).coins(5).address(None);
        if forward { body.address(None).coins(1) } else { body }
    };
    for body in
        [until(false), until(true), until(true).uint(1, 1), until(true).uint(0b11, 2).reference(comment("a"))]
    {
        let credit = credit(&body).unwrap();
        assert_eq!((credit.amount, credit.from), (5, None));
        assert_eq!(credit.memo, unreadable("a malformed forward payload"));
    }
    assert_eq!(credit(&operation(INTERNAL_TRANSFER)), None);
    assert_eq!(credit(&operation(INTERNAL_TRANSFER).uint(15, 4).uint(1, 100)), None);
    assert_eq!(
        credit(&operation(INTERNAL_TRANSFER).coins((1 << 120) - 1).address(None)).unwrap().amount,
        (1 << 120) - 1
    );
}

#[test]
fn senders_of_every_form() {
    let amount = || operation(INTERNAL_TRANSFER).coins(5);
    let tail = |cell: Cell| cell.address(None).coins(0).uint(0, 1).slice(&comment("x"));
    let anycast = amount().uint(0b10, 2).uint(1, 1).uint(3, 5).uint(7, 3).bytes(&PAYER.key());
    let external = amount().uint(0b01, 2).uint(9, 9).uint(1, 9);
    let variable = amount().uint(0b11, 2).uint(0, 1).uint(8, 9).uint(0, 32).uint(1, 8);
    let elsewhere = amount().uint(0b100, 3).uint(5, 8).bytes(&[9; 32]);
    for cell in [anycast, external, variable, elsewhere] {
        let credit = credit(&tail(cell)).unwrap();
        assert_eq!((credit.amount, credit.from, credit.memo), (5, None, text("x")));
    }
}
