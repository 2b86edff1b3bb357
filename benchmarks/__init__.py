"""Speed of the platform, as ratios against bare code measured in turn in one run."""
