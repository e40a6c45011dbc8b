/** Why messages became dead letters, in words. */
export const REASON_WORDS: Record<string, string> = {
  retries_exhausted: "retries used up",
  not_retryable: "not to be retried",
  rejected: "rejected by the task",
  time_limit: "ran too long",
  poison: "killed its process",
  expired: "came too late",
  unknown_task: "no such task",
  bad_arguments: "wrong arguments",
  bad_result: "result cannot be sent",
  undecodable: "cannot be read",
  too_large: "too large",
};

export function reasonWord(reason: string): string {
  return REASON_WORDS[reason] ?? reason;
}
