-- Notes for how long a name is registered under its own names. KEYS: the slot's records. ARGV: the name, the mark that its
-- record must have, the time from which the life counts, and the life.
local above = record_of(KEYS[1], ARGV[1])
if not above or above[1] ~= ARGV[2] then return 0 end
local covered = ARGV[4] == '' and ever or ARGV[3] + ARGV[4]
if above[2] < covered then
  record(KEYS[1], ARGV[1], above[1], covered, math.max(above[3], covered), above[4])
end
return 1
