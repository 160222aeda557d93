"""What the stages share: prepared data, attempts, records, repeats, the launch of processes, the champion."""
