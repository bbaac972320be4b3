-- Writes a record, where its version is the one that the writer knows.
-- KEYS: 1 bodies (hash), 2 versions (sorted set), 3 index (sorted set), 4 the last version,
--       5 which registry this is, 6 index by tier (sorted set)
-- ARGV: 1 subject, 2 version that must be there (0: none), 3 body, 4 a name for a new registry,
--       5 tier
-- RETURN: the new version; 0: another version is there, and nothing has changed
local there = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0')
if there ~= tonumber(ARGV[2]) then
  return 0
end
if there ~= 0 then
  local before = redis.call('HGET', KEYS[1], ARGV[1])
  local tier = cjson.decode(string.sub(before, string.find(before, ' ', 1, true) + 1)).tier
  redis.call('ZREM', KEYS[6], tier .. '\0' .. ARGV[1])
end
redis.call('SETNX', KEYS[5], ARGV[4])
local version = redis.call('INCR', KEYS[4])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', version) .. ' ' .. ARGV[3])
redis.call('ZADD', KEYS[2], version, ARGV[1])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
redis.call('ZADD', KEYS[6], 0, ARGV[5] .. '\0' .. ARGV[1])
return version
