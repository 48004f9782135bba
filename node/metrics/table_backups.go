package metrics

import "time"

// backups are about a machine's own backups. All of them are absent where it makes none.
var backups = []metric{
	{
		name: "carecircle_backup_timestamp_seconds", kind: gauge,
		help: "When the newest backup that can be restored was made, Unix seconds; absent if there is none.",
		read: func(s *looked, put func(float64, ...string)) {
			if s.Backup != nil {
				putTime(s.Backup.At, put)
			}
		},
		panel: panel{
			row: rowBackups, title: "Age of the newest backup", unit: "s",
			expr: `time() - carecircle_backup_timestamp_seconds{instance=~"$instance"}`,
		},
		alerts: []alert{{
			"CarecircleBackupOld", `(time() - carecircle_backup_timestamp_seconds > ` +
				`2 * carecircle_backup_interval_seconds) or ` +
				`(carecircle_backup_interval_seconds unless carecircle_backup_timestamp_seconds)`, "1h",
			critical, "No backup was made for twice as long as planned",
		}},
	},
	{
		name: "carecircle_backup_interval_seconds", kind: gauge,
		help: "How often a backup is to be made; absent where that is only when somebody asks.",
		read: func(s *looked, put func(float64, ...string)) {
			if s.Backup != nil && s.Backup.Every > 0 {
				put(s.Backup.Every.Seconds())
			}
		},
	},
	{
		name: "carecircle_backup_drill_timestamp_seconds", kind: gauge,
		help: "When the newest restore drill was done, Unix seconds; absent before the first.",
		read: func(s *looked, put func(float64, ...string)) {
			if s.Backup != nil {
				putTime(s.Backup.Drill, put)
			}
		},
		panel: panel{
			row: rowBackups, title: "Age of the newest restore drill", unit: "s",
			expr: `time() - carecircle_backup_drill_timestamp_seconds{instance=~"$instance"}`,
		},
		alerts: []alert{{
			"CarecircleDrillOld", `(time() - carecircle_backup_drill_timestamp_seconds > 14 * 86400 ` +
				`and carecircle_backup_interval_seconds) or ` +
				`(carecircle_backup_interval_seconds unless carecircle_backup_drill_timestamp_seconds)`, "2h",
			warning, "No restore drill was done for two weeks",
		}},
	},
	{
		name: "carecircle_backup_failed", kind: gauge,
		help: "1 while the newest attempt at a backup, or the newest restore drill, did not go well.",
		read: func(s *looked, put func(float64, ...string)) {
			if s.Backup != nil {
				put(yes(s.Backup.Failed))
			}
		},
		panel: panel{row: rowBackups, title: "Backup or drill failed"},
		alerts: []alert{{
			"CarecircleBackupFails", `carecircle_backup_failed == 1`, "30m", warning,
			"A backup or a restore drill did not go well",
		}},
	},
}

// putTime puts a time that is known.
func putTime(at time.Time, put func(float64, ...string)) {
	if !at.IsZero() {
		put(float64(at.UnixMilli()) / 1000)
	}
}
