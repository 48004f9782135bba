package metrics

var replicas = []metric{
	{
		name: "carecircle_replica_state", kind: gauge, labels: []string{"state"},
		help: "1 for the state this replica is in, 0 for the others.",
		read: func(s *looked, put func(float64, ...string)) {
			for _, state := range replicaStates {
				put(yes(state == s.Replica.State), state)
			}
		},
		panel: panel{
			row: rowReplica, title: "State of the replica",
			expr: `carecircle_replica_state{instance=~"$instance"} == 1`,
		},
	},
	{
		name: "carecircle_replica_leader_known", kind: gauge, help: "1 when this replica knows who leads.",
		read:  func(s *looked, put func(float64, ...string)) { put(yes(s.Replica.LeaderKnown)) },
		panel: panel{row: rowReplica, title: "Leader known"},
		alerts: []alert{{
			"CarecircleNoLeader", `carecircle_replica_leader_known == 0`, "1m", critical,
			"The circle has no leader and cannot take commands",
		}},
	},
	{
		name: "carecircle_replica_term", kind: gauge, help: "Raft's term: every election raises it.",
		read:  func(s *looked, put func(float64, ...string)) { put(float64(s.Replica.Term)) },
		panel: panel{row: rowReplica, title: "Term"},
		alerts: []alert{{
			"CarecircleLeaderUnsteady", `changes(carecircle_replica_term[15m]) > 3`, "0m", warning,
			"The circle keeps electing a leader",
		}},
	},
	{
		name: "carecircle_replica_commit_index", kind: gauge,
		help: "Newest log entry known to be committed.",
		read: func(s *looked, put func(float64, ...string)) { put(float64(s.Replica.Commit)) },
	},
	{
		name: "carecircle_replica_applied_index", kind: gauge, help: "Newest log entry in the state.",
		read: func(s *looked, put func(float64, ...string)) { put(float64(s.Replica.Applied)) },
		panel: panel{
			row: rowReplica, title: "Log entries applied a second", unit: "ops",
			expr: `deriv(carecircle_replica_applied_index{instance=~"$instance"}[$__rate_interval])`,
		},
	},
	{
		name: "carecircle_replica_lag_entries", kind: gauge, labels: []string{"replica"},
		help: "Committed log entries that a replica has not applied yet, as last heard from it.",
		read: func(s *looked, put func(float64, ...string)) {
			for _, r := range s.Replicas {
				if r.Heard {
					put(float64(r.Lag), r.ID)
				}
			}
		},
		panel: panel{row: rowReplica, title: "Entries behind"},
		alerts: []alert{{
			"CarecircleReplicaLags", `carecircle_replica_lag_entries > 1000`, "5m", warning,
			"A replica does not keep up with its circle",
		}},
	},
	{
		name: "carecircle_replica_alive", kind: gauge, labels: []string{"replica"},
		help: "1 while a replica of the circle answers this one.",
		read: func(s *looked, put func(float64, ...string)) {
			for _, r := range s.Replicas {
				put(yes(r.Alive), r.ID)
			}
		},
		panel: panel{row: rowReplica, title: "Replicas that answer"},
		alerts: []alert{{
			"CarecircleReplicaAway", `carecircle_replica_alive == 0`, "10m", warning,
			"A replica of the circle does not answer",
		}},
	},
	{
		name: "carecircle_replicas_voting", kind: gauge,
		help: "Replicas that count when it is asked whether an entry is safe.",
		read: func(s *looked, put func(float64, ...string)) { put(float64(voting(s.Replicas, false))) },
	},
	{
		name: "carecircle_replicas_voting_alive", kind: gauge, help: "Those of them that answer.",
		read:  func(s *looked, put func(float64, ...string)) { put(float64(voting(s.Replicas, true))) },
		panel: panel{row: rowReplica, title: "Replicas that count and answer"},
		alerts: []alert{{
			"CarecircleNoReplicaToSpare", `carecircle_replicas_voting > 2 and ` +
				`carecircle_replicas_voting_alive < floor(carecircle_replicas_voting / 2) + 2`,
			"2m", critical, "If the circle loses one more replica, it stops taking commands",
		}},
	},
	{
		name: "carecircle_journal_position", kind: gauge, help: "Commands in the circle's journal.",
		read:  func(s *looked, put func(float64, ...string)) { put(float64(s.Replica.Position)) },
		panel: panel{row: rowReplica, title: "Commands in the journal"},
	},
	{
		name: "carecircle_scrub_timestamp_seconds", kind: gauge,
		help: "When the newest scrub of the circle's replicas ended, Unix seconds; absent before the first.",
		read: func(s *looked, put func(float64, ...string)) {
			if s.Scrub.Result != "" {
				put(float64(s.Scrub.At.UnixMilli()) / 1000)
			}
		},
		panel: panel{
			row: rowReplica, title: "Age of the newest scrub", unit: "s",
			expr: `time() - carecircle_scrub_timestamp_seconds{instance=~"$instance"}`,
		},
		alerts: []alert{{
			"CarecircleScrubOld", `time() - carecircle_scrub_timestamp_seconds > 3 * 86400`, "1h", warning,
			"The circle's replicas were not compared for three days",
		}},
	},
	{
		name: "carecircle_scrub_result", kind: gauge, labels: []string{"result"},
		help: "1 for what the newest scrub found, 0 for the rest.",
		read: func(s *looked, put func(float64, ...string)) {
			for _, result := range scrubResults {
				put(yes(result == s.Scrub.Result), result)
			}
		},
		panel: panel{
			row: rowReplica, title: "The newest scrub found",
			expr: `carecircle_scrub_result{instance=~"$instance"} == 1`,
		},
		alerts: []alert{
			{
				"CarecircleScrubFound", `carecircle_scrub_result{result=~"damaged|unsure"} == 1`, "0m",
				critical, "The circle's replicas do not hold the same, or a disk is damaged",
			},
			{
				"CarecircleScrubIncomplete", `carecircle_scrub_result{result="incomplete"} == 1`, "36h",
				warning, "Not all of the circle's replicas could be checked",
			},
		},
	},
}

// voting counts the replicas that have a vote; those alone that answer, if alive is set.
func voting(all []Standing, alive bool) int {
	n := 0
	for _, r := range all {
		if r.Voting && (r.Alive || !alive) {
			n++
		}
	}
	return n
}

var storage = []metric{
	{
		name: appendSeconds, kind: histogram, buckets: quick,
		help:  "Time to write log entries and sync them.",
		panel: panel{row: rowStorage, title: "Writing the log", unit: "s"},
		alerts: []alert{{
			"CarecircleDiskSlow", `histogram_quantile(0.99, sum by (instance, le) ` +
				`(rate(carecircle_log_append_seconds_bucket[5m]))) > 0.5`, "10m", warning,
			"The disk takes long to write the log",
		}},
	},
	{
		name: appendedEntries, kind: counter, help: "Log entries written.",
		panel: panel{row: rowStorage, title: "Log entries written a second", unit: "ops"},
	},
	{
		name: flushSeconds, kind: histogram, buckets: quick,
		help:  "Time to write changed rows of the state and sync them.",
		panel: panel{row: rowStorage, title: "Writing the state", unit: "s"},
	},
	{
		name: flushedRows, kind: counter, help: "Changed rows of the state written.",
		panel: panel{row: rowStorage, title: "Rows of the state written a second", unit: "ops"},
	},
	{
		name: snapshotSeconds, kind: histogram, buckets: slow, help: "Time to write a snapshot.",
		panel: panel{row: rowStorage, title: "Writing a snapshot", unit: "s"},
	},
	{
		name: "carecircle_snapshot_timestamp_seconds", kind: gauge,
		help: "When the newest snapshot was taken, Unix seconds; absent while there is none.",
		read: func(s *looked, put func(float64, ...string)) {
			putTime(s.Snapshot.At, put)
		},
		panel: panel{
			row: rowStorage, title: "Age of the newest snapshot", unit: "s",
			expr: `time() - carecircle_snapshot_timestamp_seconds{instance=~"$instance"}`,
		},
		alerts: []alert{{
			"CarecircleSnapshotOld", `time() - carecircle_snapshot_timestamp_seconds > 3 * 86400 ` +
				`and carecircle_replica_applied_index > carecircle_snapshot_index`, "1h", warning,
			"No snapshot was taken for three days",
		}},
	},
	{
		name: "carecircle_snapshot_index", kind: gauge,
		help: "Log entry of the newest snapshot; 0 while there is none.",
		read: func(s *looked, put func(float64, ...string)) { put(float64(s.Snapshot.Index)) },
	},
	{
		name: "carecircle_snapshot_size_bytes", kind: gauge, help: "Size of the newest snapshot.",
		read:  func(s *looked, put func(float64, ...string)) { put(float64(s.Snapshot.Bytes)) },
		panel: panel{row: rowStorage, title: "Size of the newest snapshot", unit: "bytes"},
	},
	{
		name: "carecircle_disk_free_bytes", kind: gauge,
		help:  "Room left on the disk that holds the node's data.",
		read:  func(s *looked, put func(float64, ...string)) { put(float64(s.Disk.Free)) },
		panel: panel{row: rowStorage, title: "Disk free", unit: "bytes"},
		alerts: []alert{
			{
				"CarecircleDiskFull", `carecircle_disk_free_bytes < 256 * 1024 * 1024`, "1m", critical,
				"The disk is all but full",
			},
			{
				"CarecircleDiskFillsUp", `carecircle_disk_free_bytes / carecircle_disk_size_bytes < 0.1 ` +
					`or predict_linear(carecircle_disk_free_bytes[6h], 4 * 86400) < 0`, "30m", warning,
				"The disk fills up",
			},
		},
	},
	{
		name: "carecircle_disk_size_bytes", kind: gauge,
		help: "Size of the disk that holds the node's data.",
		read: func(s *looked, put func(float64, ...string)) { put(float64(s.Disk.Size)) },
	},
	{
		name: "carecircle_disk_margin_bytes", kind: gauge,
		help: "Room that must stay free: with less the node writes nothing, with half of it it stops.",
		read: func(s *looked, put func(float64, ...string)) { put(float64(s.Disk.Margin)) },
	},
	{
		name: "carecircle_disk_ballast_bytes", kind: gauge,
		help: "Room that can be had at once by carecircle space release.",
		read: func(s *looked, put func(float64, ...string)) { put(float64(s.Disk.Ballast)) },
	},
	{
		name: "carecircle_disk_low", kind: gauge,
		help:  "1 while the node refuses to write because its disk is nearly full.",
		read:  func(s *looked, put func(float64, ...string)) { put(yes(s.Disk.Low)) },
		panel: panel{row: rowStorage, title: "Writing refused, disk nearly full"},
		alerts: []alert{{
			"CarecircleDiskLow", `carecircle_disk_low == 1`, "0m", critical,
			"The disk is nearly full and the node writes nothing",
		}},
	},
}

var letters = []metric{
	{
		name: "carecircle_link_connected", kind: gauge, labels: []string{"circle"},
		help: "1 while letters can go to another circle.",
		read: func(s *looked, put func(float64, ...string)) {
			for _, l := range s.Links {
				put(yes(l.Connected), shortCircle(l.Circle))
			}
		},
		panel: panel{row: rowLetters, title: "Connected"},
	},
	{
		name: "carecircle_link_waiting_letters", kind: gauge, labels: []string{"circle"},
		help: "Letters that another circle does not hold yet.",
		read: func(s *looked, put func(float64, ...string)) {
			for _, l := range s.Links {
				put(float64(l.Waiting), shortCircle(l.Circle))
			}
		},
		panel: panel{row: rowLetters, title: "Letters that wait"},
	},
	{
		name: "carecircle_link_oldest_letter_age_seconds", kind: gauge, labels: []string{"circle"},
		help: "Age of the oldest letter that another circle does not hold yet; 0 while none waits.",
		read: func(s *looked, put func(float64, ...string)) {
			for _, l := range s.Links {
				put(l.Oldest.Seconds(), shortCircle(l.Circle))
			}
		},
		panel: panel{row: rowLetters, title: "Oldest letter that waits", unit: "s"},
		alerts: []alert{{
			"CarecircleLettersWait", `carecircle_link_oldest_letter_age_seconds > 86400`, "10m", warning,
			"Another circle has not taken our letters for a day",
		}},
	},
}

var pages = []metric{
	{
		name: httpRequests, kind: counter, labels: []string{"route", "status"},
		help: "HTTP requests, by the pattern of their route and the class of the answer's status.",
		panel: panel{
			row: rowPages, title: "Requests a second", unit: "reqps",
			expr: `sum by (status) ` +
				`(rate(carecircle_http_requests_total{instance=~"$instance"}[$__rate_interval]))`,
		},
		alerts: []alert{{
			"CarecircleServerErrors",
			`sum by (instance) (rate(carecircle_http_requests_total{status="5xx"}[5m])) > 0.1`, "5m",
			critical, "People meet errors of the node",
		}},
	},
	{
		name: httpSeconds, kind: histogram, labels: []string{"route"}, buckets: quick,
		help: "Time to answer an HTTP request.",
		panel: panel{
			row: rowPages, title: "Slowest routes: 99 in 100 are quicker", unit: "s",
			expr: `topk(5, histogram_quantile(0.99, sum by (route, le) ` +
				`(rate(carecircle_http_request_seconds_bucket{instance=~"$instance"}[$__rate_interval]))))`,
		},
	},
	{
		name: signInFailures, kind: counter, help: "Sign-ins that did not succeed.",
		panel: panel{row: rowPages, title: "Failed sign-ins a second", unit: "ops"},
		alerts: []alert{{
			"CarecircleSignInFailures", `increase(carecircle_sign_in_failures_total[10m]) > 30`, "0m",
			warning, "Many sign-ins fail: somebody may be guessing",
		}},
	},
}
