//! Every legacy shape, by every way, ends in one schema with the rows that were worked out by hand.

use crate::common::is_sound;
use crate::common::legacy::{expected, legacy_file, listed, new_schema, schema, shapes, ways};

#[test]
fn every_shape_by_every_way() {
    let new_schema = new_schema();
    assert_eq!(new_schema.len(), 8, "{new_schema:?}");
    for shape in shapes() {
        for way in ways() {
            let db = legacy_file(&shape);
            way.go(&db).unwrap_or_else(|error| panic!("{shape} by {way:?}: {error}"));
            let conn = db.plain();
            assert_eq!(schema(&conn), new_schema, "{shape} by {way:?}");
            assert_eq!(listed(&conn), expected(&shape), "{shape} by {way:?}");
            is_sound(&conn);
        }
    }
}

#[test]
fn again_by_any_way_changes_nothing() {
    for shape in shapes() {
        for way in ways().into_iter().filter(|way| way.keeps_books()) {
            let db = legacy_file(&shape);
            way.go(&db).unwrap();
            let before = std::fs::read(db.path()).unwrap();
            for again in ways().into_iter().filter(|way| way.keeps_books()) {
                again.go(&db).unwrap();
                assert!(std::fs::read(db.path()).unwrap() == before, "{shape} by {way:?}, then {again:?}");
            }
        }
    }
}

#[test]
fn revert_and_redo_keep_every_row() {
    let new_schema = new_schema();
    for shape in shapes() {
        for way in ways() {
            let db = legacy_file(&shape);
            way.go(&db).unwrap();
            way.revert(&db).unwrap();
            assert_eq!(listed(&db.plain()), expected(&shape), "{shape} by {way:?}, reverted");
            way.go(&db).unwrap();
            assert_eq!(listed(&db.plain()), expected(&shape), "{shape} by {way:?}, redone");
            assert_eq!(schema(&db.plain()), new_schema, "{shape} by {way:?}, redone");
        }
    }
}
