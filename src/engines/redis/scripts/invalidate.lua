-- Removes entries, and ends the loads under their names. KEYS: the entries. ARGV: '1' if the answer is to name the
-- entries that existed. Answers how many existed, and their keys if they are asked for.
change(unpack(KEYS))
return unlink_all(KEYS, ARGV[1] == '1')
