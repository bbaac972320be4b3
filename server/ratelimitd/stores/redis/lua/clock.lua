-- The instant of the batch: this server's clock, but never before what the caller has already seen.
local clock = call('TIME')
now = clock[1] * 1000000 + clock[2]
if now < tonumber(ARGV[1]) then now = tonumber(ARGV[1]) end
room = tonumber(ARGV[2])
shared_room = ARGV[3] == '1'
