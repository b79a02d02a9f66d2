//! Backing up beside a running server, and starting from the copy.

use std::{fs, os::unix::fs::PermissionsExt, thread};

use crate::{
    cli::with_stdin,
    support::{Installation, Server, run, run_json, text},
};

#[test]
fn a_backup_under_load_is_whole_and_can_be_restored() {
    let installation = Installation::new();
    let server = installation.serve();
    let data_dir = installation.data_dir();
    let made = run_json(&["key", "create", "--name", "before"], &data_dir);
    let backup = installation.folder.path().join("backup");
    let named = backup.display().to_string();
    // Somebody makes keys all the while.
    let output = thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for n in 0..20 {
                run_json(&["key", "create", "--name", &format!("during {n}")], &data_dir);
            }
        });
        let output = run(&["backup", &named], &data_dir);
        busy.join().unwrap();
        output
    });
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("audit entries"), "{}", text(&output.stdout));
    for (file, mode) in [("", 0o700), ("keyreeve.db", 0o600), ("audit.key", 0o600)] {
        let found = fs::metadata(backup.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}");
    }
    let mut files: Vec<_> =
        fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["audit.checkpoint", "audit.key", "audit.pub", "keyreeve.db"]);
    // Revoked after the backup: good again in the copy, as is said.
    run_json(&["key", "revoke", made["id"].as_str().unwrap()], &data_dir);
    let again = run(&["backup", &named], &data_dir);
    assert_eq!(again.status.code(), Some(2), "a backup is not written over");
    server.stop();

    // As a medium without modes would give it back. An empty folder gives way.
    fs::set_permissions(backup.join("audit.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let restored = installation.folder.path().join("restored");
    fs::create_dir(&restored).unwrap();
    let output = run(&["restore", &named], &restored);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("revoked since are good again"));
    let mode = fs::metadata(restored.join("audit.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let server = Server::start(&restored, &[]);
    let verdict = with_stdin(&["key", "verify"], made["key"].as_str().unwrap(), &server);
    assert_eq!(verdict.status.code(), Some(0), "{}", text(&verdict.stdout));
    run_json(&["key", "create", "--name", "after"], &restored);
    run_json(&["audit", "verify"], &restored);
    server.stop();
    let over = run(&["restore", &named], &restored);
    assert_eq!(over.status.code(), Some(2));
    assert!(text(&over.stderr).contains("something at"), "{}", text(&over.stderr));
}

#[test]
fn a_spoiled_backup_is_not_restored_and_a_spoiled_database_not_backed_up() {
    let installation = Installation::new();
    let data_dir = installation.data_dir();
    let path = |name: &str| installation.folder.path().join(name);
    let backup = path("backup").display().to_string();
    assert!(run(&["backup", &backup], &data_dir).status.success());
    let spoil = |database: &std::path::Path| {
        let connection = rusqlite::Connection::open(database).unwrap();
        let sql = "UPDATE audit_entries SET actor = 'nobody' WHERE seq = 0";
        assert_eq!(connection.execute(sql, []).unwrap(), 1);
    };
    spoil(&path("backup").join("keyreeve.db"));
    let output = run(&["restore", &backup], &path("restored"));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is damaged"), "{}", text(&output.stderr));
    assert!(!path("restored").exists());

    spoil(&data_dir.join("keyreeve.db"));
    let second = path("second").display().to_string();
    let output = run(&["backup", &second], &data_dir);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is damaged"), "{}", text(&output.stderr));
    // A link that leads nowhere is something too.
    std::os::unix::fs::symlink(path("nowhere"), path("link")).unwrap();
    let output = run(&["backup", &path("link").display().to_string()], &data_dir);
    assert!(text(&output.stderr).contains("something at"), "{}", text(&output.stderr));
    let left = fs::read_dir(installation.folder.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("second")), "{left:?}");
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".keyreeve")), "{left:?}");
    let nothing = run(&["restore", &second], &path("elsewhere"));
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("there is no database"), "{}", text(&nothing.stderr));
}

#[test]
fn a_key_that_is_not_the_audits_is_no_backup() {
    let installation = Installation::new();
    let other = Installation::new();
    let backup = installation.folder.path().join("backup").display().to_string();
    fs::copy(other.data_dir().join("audit.key"), installation.data_dir().join("audit.key"))
        .unwrap();
    let output = run(&["backup", &backup], &installation.data_dir());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("do not belong together"), "{}", text(&output.stderr));
}
