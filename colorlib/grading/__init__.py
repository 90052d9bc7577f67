"""The instructor's side of the assignments: versions of them, and the grades of a class.

The code of a submission runs in a process of its own, which sees no test: it is handed arguments, and gives
back arrays. All that is wanted, compared and counted stays in the grader's process, see
`colorlib.grading.server`.
"""
