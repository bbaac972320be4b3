-- The instant of the batch: this server's clock, but never before what the caller has already seen. Keys end at instants
-- and not after lengths of time: who is ahead of a clock that was set back must not lose them when it is set right.
local clock = call('TIME')
now = clock[1] * 1000000 + clock[2]
if now < tonumber(ARGV[1]) then now = tonumber(ARGV[1]) end
EXPIRE, PX, origin = 'PEXPIREAT', 'PXAT', 0
room = tonumber(ARGV[2])
shared_room = ARGV[3] == '1'
