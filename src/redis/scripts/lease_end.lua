-- KEYS: the key. ARGV: the token.
local flight = flight_of()
if flight and flight.token == ARGV[1] then land(flight) end
announce()
return 1
