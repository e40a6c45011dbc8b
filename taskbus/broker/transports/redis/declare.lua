-- Note that a queue was declared; joined to base.lua. A worker may do so on a server that is out of memory: it drains it.
--
-- KEYS[1] the hash that names all queues; ARGV[4] the queue's name there, [5] what is kept of it. Returns 1.

start_writing()
redis.call('HSET', KEYS[1], ARGV[4], ARGV[5])
return 1
